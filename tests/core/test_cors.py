"""Pages of other origins may call the API where the settings allow it, and nowhere else."""

import httpx
import pytest

from app.core.config import Settings
from app.main import create_app

SHOP = "https://shop.example.in"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}


def client(configured: Settings, *origins: str) -> httpx.AsyncClient:
    app = create_app(configured.model_copy(update={"allowed_origins": origins}))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_an_allowed_page_may_call(configured: Settings) -> None:
    async with client(configured, SHOP) as http:
        preflight = await http.options("/api/v1/payments", headers={"Origin": SHOP, **PREFLIGHT})
        assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, SHOP)
        answer = await http.get("/healthz", headers={"Origin": SHOP})
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        # Cookies and the like never travel along.
        assert "Access-Control-Allow-Credentials" not in preflight.headers


@pytest.mark.parametrize("origin", ["https://evil.example.in", "https://shop.example.in.evil.in", "null"])
async def test_another_page_may_not(configured: Settings, origin: str) -> None:
    async with client(configured, SHOP) as http:
        preflight = await http.options("/api/v1/payments", headers={"Origin": origin, **PREFLIGHT})
        assert "Access-Control-Allow-Origin" not in preflight.headers
        assert preflight.status_code == 400


async def test_without_allowed_origins_nobody_may(configured: Settings) -> None:
    async with client(configured) as http:
        answer = await http.get("/healthz", headers={"Origin": SHOP})
        assert "Access-Control-Allow-Origin" not in answer.headers
