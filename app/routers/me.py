"""The signed-in account: profile, contacts, wallet."""

from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi.responses import StreamingResponse

from app.routers.dependencies import Provider, Reading, SignedIn, ThePlatform, Writing
from app.routers.problems import documented
from app.schemas.base import Done, Page
from app.schemas.providers import OfferServices, ProviderProfile, UpdateProvider
from app.schemas.users import ChangeContact, ConfirmContact, UpdateProfile, User
from app.schemas.wallets import ExportStatement, RequestedStatement, Wallet, WalletEntry, WalletPage
from app.services.providers import onboarding
from app.services.providers import queries as providers
from app.services.users import accounts
from app.services.users import queries as users
from app.services.wallets import statement_requests, statements, wallets

router = APIRouter(prefix="/api/v1", tags=["me"])


@router.get("/me", responses=documented(401))
async def read_me(session: Reading, actor: SignedIn) -> User:
    """The account."""
    return await users.user(session, actor.user_id)


@router.patch("/me", responses=documented(401))
async def update_me(body: UpdateProfile, session: Writing, actor: SignedIn) -> User:
    """Change name or language."""
    return await accounts.update_profile(session, actor, body)


@router.post("/me/contact-changes", status_code=status.HTTP_202_ACCEPTED, responses=documented(401, 429))
async def change_contact(body: ChangeContact, session: Writing, actor: SignedIn, platform: ThePlatform) -> Done:
    """Have a code sent to a new email or phone."""
    await accounts.change_contact(session, platform, actor, body)
    return Done()


@router.post("/me/contact-changes/confirm", responses=documented(401, 409))
async def confirm_contact(body: ConfirmContact, session: Writing, actor: SignedIn, platform: ThePlatform) -> User:
    """Put the new email or phone in force; other sessions end."""
    return await accounts.confirm_contact(session, platform, actor, body)


@router.get("/me/provider", responses=documented(401, 404))
async def read_provider(session: Reading, actor: SignedIn) -> ProviderProfile:
    """The own provider profile, with the state of the application and the reason if it was turned down."""
    return await providers.profile(session, actor.user_id)


@router.patch("/me/provider", responses=documented(401, 403))
async def update_provider(body: UpdateProvider, session: Writing, actor: Provider) -> ProviderProfile:
    """Change the profile, the position, the radius, or the weekly cap for leads."""
    return await onboarding.update_profile(session, actor, body)


@router.put("/me/provider/services", responses=documented(401, 403))
async def offer_services(body: OfferServices, session: Writing, actor: Provider) -> ProviderProfile:
    """Offer exactly these services."""
    return await onboarding.offer(session, actor, body.service_ids)


@router.get("/wallet", responses=documented(401))
async def read_wallet(session: Reading, actor: SignedIn) -> Wallet:
    """What the account holds, in minor units."""
    return await wallets.wallet(session, actor.user_id)


@router.get("/wallet/entries", responses=documented(401))
async def list_wallet_entries(
    session: Reading, actor: SignedIn, page: Annotated[WalletPage, Query()]
) -> Page[WalletEntry]:
    """The wallet's statement, newest first."""
    return await wallets.statement(session, actor.user_id, page)


@router.get(
    "/wallet/entries.csv",
    response_class=StreamingResponse,
    responses=documented(401) | {200: {"content": {"text/csv": {}}, "description": "One line for each movement."}},
)
async def export_wallet_entries(
    session: Reading, actor: SignedIn, wanted: Annotated[ExportStatement, Query()]
) -> StreamingResponse:
    """The statement of a period of up to a year, oldest first, with the running balance; RFC 4180."""
    lines = await statements.exported(session, actor.user_id, wanted)
    headers = {
        "Content-Disposition": f'attachment; filename="statement-{wanted.currency}.csv"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8; header=present")


@router.post("/wallet/statements", status_code=status.HTTP_202_ACCEPTED, responses=documented(401, 429))
async def request_statement(
    body: ExportStatement, session: Writing, actor: SignedIn, platform: ThePlatform
) -> RequestedStatement:
    """Have the statement of a period written as PDF; `wallet.statement_ready` tells when."""
    return await statement_requests.request(session, platform, actor, body)
