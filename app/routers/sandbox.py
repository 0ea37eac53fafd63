"""The hosted page of the sandbox payment provider. Elsewhere, with a real provider, there is no such page."""

from typing import Annotated

from fastapi import APIRouter, Depends, status
from fastapi.responses import HTMLResponse, RedirectResponse

from app.adapters.payments.sandbox import CheckoutState, HostedCheckout, Sandbox
from app.core.errors import NotFound
from app.routers import sandbox_page
from app.routers.dependencies import Reading, ThePlatform, Writing

router = APIRouter(prefix="/sandbox/checkout", include_in_schema=False)


async def _sandbox(platform: ThePlatform) -> Sandbox:
    if not isinstance(platform.payments, Sandbox):
        raise NotFound()
    return platform.payments


TheSandbox = Annotated[Sandbox, Depends(_sandbox)]


@router.get("/{token}")
async def show(token: str, sandbox: TheSandbox, session: Reading) -> HTMLResponse:
    """The page on which the payer decides, or sees what was decided."""
    checkout = await sandbox.find(session, token)
    return HTMLResponse(sandbox_page.render(checkout), headers=sandbox_page.headers(checkout))


@router.post("/{token}/pay")
async def pay(token: str, sandbox: TheSandbox, session: Writing) -> RedirectResponse:
    return _on_from(await sandbox.pay(session, token))


@router.post("/{token}/decline")
async def decline(token: str, sandbox: TheSandbox, session: Writing) -> RedirectResponse:
    return _on_from(await sandbox.decline(session, token))


@router.post("/{token}/abandon")
async def abandon(token: str, sandbox: TheSandbox, session: Writing) -> RedirectResponse:
    return _on_from(await sandbox.abandon(session, token))


def _on_from(checkout: HostedCheckout) -> RedirectResponse:
    """Back to where the payer came from, with what was decided; if it was too late, to the page that says so."""
    too_late = checkout.state is CheckoutState.EXPIRED
    return RedirectResponse(
        f"../{checkout.token}" if too_late else checkout.way_back,
        status.HTTP_303_SEE_OTHER,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )
