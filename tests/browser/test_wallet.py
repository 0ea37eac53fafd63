"""A person tops up the wallet of a web client through the hosted page: pays, is declined, goes back without paying."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse

from app.core.config import Settings
from app.core.tasks import end
from app.jobs import worker
from app.kernel.platform import open_platform
from app.main import create_app
from tests.browser.conftest import DESKTOP, PHONE, Browser
from tests.conftest import serving
from tests.support.world import World

PAGE = Path(__file__).with_name("shop.html")


@pytest.fixture(scope="module")
async def client_address() -> AsyncIterator[str]:
    """A web client on an origin of its own."""
    app = FastAPI()
    app.add_api_route("/wallet", lambda: FileResponse(PAGE))
    app.add_api_route("/favicon.ico", lambda: {})
    async with serving(app) as address:
        yield address


@pytest.fixture(scope="module")
async def api_address(configured: Settings, client_address: str) -> AsyncIterator[str]:
    """The service, which lets that client's pages call, with a worker that delivers what the hosted page tells."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    changed = {"public_url": f"http://127.0.0.1:{port}", "allowed_origins": (client_address,)}
    settings = configured.model_copy(update=changed)
    async with serving(create_app(settings), port) as address, open_platform(settings) as platform:
        working = asyncio.create_task(worker.work(platform))
        yield address
        await end(working)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_the_wallet_shows_what_became_of_each_top_up(
    browser: Browser, world: World, client_address: str, api_address: str, size: tuple[int, int]
) -> None:
    # Given somebody who is signed in on the client's page, with an empty wallet
    person = await world.person()
    await browser.resize(*size)
    await browser.open(f"{client_address}/wallet#api={api_address}&token={person.access_token}")
    await browser.reads("₹0.00")
    # When they top up and pay, then it is in the wallet as soon as they are back
    await browser.click("Top up ₹500")
    await browser.reads("Decline")
    await browser.click("Pay ₹500.00")
    assert "₹500.00 SUCCEEDED" in await browser.reads("SUCCEEDED")
    await browser.screenshot(f"wallet-paid-{size[0]}")
    assert await world.balance(person) == 500_00
    # When the next one is declined, then nothing was taken, and the page says so
    await browser.click("Top up ₹500")
    await browser.reads("Decline")
    await browser.click("Decline")
    assert "₹500.00 FAILED" in await browser.reads("FAILED")
    await browser.screenshot(f"wallet-declined-{size[0]}")
    # When they go back without paying, then the payment waits until it expires
    await browser.click("Top up ₹500")
    await browser.reads("Decline")
    await browser.click("Go back without paying")
    assert "₹500.00 PENDING" in await browser.reads("PENDING")
    await browser.screenshot(f"wallet-abandoned-{size[0]}")
    assert await world.balance(person) == 500_00
    assert await browser.complaints() == []
    await world.books_are_clean()
