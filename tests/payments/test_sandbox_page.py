"""The sandbox's hosted page over HTTP: what it offers, what it says, and that nothing foreign gets into it."""

import asyncio
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from app.core.config import Settings
from app.main import create_app
from tests.conftest import serving
from tests.payments.conftest import Till

HOSTILE = "\"><script>alert('x')</script>${token}</p><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        assert answer.status_code == 200, answer.text
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str, attribute: str) -> list[str | None]:
        return [attributes.get(attribute) for name, attributes in self.tags if name == tag]


async def page_of(http: httpx.AsyncClient, token: str) -> Page:
    return Page(await http.get(f"/sandbox/checkout/{token}"))


async def click(http: httpx.AsyncClient, token: str, step: str, **options: Any) -> httpx.Response:
    return await http.post(f"/sandbox/checkout/{token}/{step}", **options)


async def test_an_open_checkout_says_what_is_to_be_paid_and_offers_three_ways(
    till: Till, http: httpx.AsyncClient
) -> None:
    token = await till.open()
    page = await page_of(http, token)
    assert "₹1,234.50" in page.words
    assert "Top-up of your wallet" in page.words
    assert page.all("form", "action") == [f"{token}/{step}" for step in ("pay", "decline", "abandon")]
    assert page.all("form", "method") == ["post"] * 3
    for button in ("Pay ₹1,234.50", "Decline", "Go back without paying"):
        assert button in page.words


@pytest.mark.parametrize(
    ("step", "outcome", "sentence"),
    [
        ("pay", "paid", "This is paid."),
        ("decline", "declined", "The payment was declined."),
        ("abandon", "abandoned", "You went back without paying."),
    ],
)
async def test_each_button_leads_back_and_the_page_then_says_what_happened(
    till: Till, http: httpx.AsyncClient, step: str, outcome: str, sentence: str
) -> None:
    # Given
    token = await till.open()
    [row] = await till.world.rows("sandbox_checkouts", token=token)
    # When
    answer = await click(http, token, step)
    # Then the return address keeps its query and its fragment
    back = f"https://shop.example/wallet?tab=money&payment={row['payment_id']}&outcome={outcome}#top"
    assert (answer.status_code, answer.headers["location"]) == (303, back)
    page = await page_of(http, token)
    assert sentence in page.words
    assert page.all("form", "action") == []
    assert page.all("a", "href") == [back]


async def test_clicking_twice_leads_back_twice_and_pays_once(till: Till, http: httpx.AsyncClient) -> None:
    token = await till.open()
    first = await click(http, token, "pay")
    async with till.world.unchanged():
        again = await asyncio.gather(*(click(http, token, step) for step in ("pay", "decline", "abandon")))
    assert {answer.headers["location"] for answer in again} == {first.headers["location"]}
    [row] = await till.world.rows("sandbox_checkouts", token=token)
    assert len(await till.told(row["payment_id"])) == 1


async def test_when_the_time_is_over_the_page_says_so_and_a_click_leads_to_it(
    till: Till, http: httpx.AsyncClient
) -> None:
    # Given a page that was opened in time and clicked too late
    token = await till.open()
    await till.make_late(token)
    # When
    answer = await click(http, token, "pay", follow_redirects=True)
    # Then
    assert [step.status_code for step in answer.history] == [303]
    assert answer.url.path == f"/sandbox/checkout/{token}"
    page = Page(answer)
    assert "The time to pay is over." in page.words
    assert page.all("form", "action") == []
    [back] = page.all("a", "href")
    assert str(back).endswith("&outcome=abandoned#top")


async def test_whatever_the_description_holds_is_text(till: Till, http: httpx.AsyncClient) -> None:
    usual = await page_of(http, await till.open())
    page = await page_of(http, await till.open(description=HOSTILE))
    assert HOSTILE in page.words
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in usual.tags]


async def test_whatever_the_return_address_holds_stays_an_attribute(till: Till, http: httpx.AsyncClient) -> None:
    # Given
    token = await till.open(return_url="https://shop.example/\"><script>x</script>?a='&amp;b=;c=1%0d%0a#ü")
    usual = await till.open()
    locations = [(await click(http, one, "pay")).headers["location"] for one in (token, usual)]
    # Then
    page = await page_of(http, token)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in (await page_of(http, usual)).tags]
    assert urlsplit(locations[0])[:2] == ("https", "shop.example")
    assert [name for name, _ in parse_qsl(urlsplit(locations[0]).query)][-2:] == ["payment", "outcome"]


async def test_nothing_in_a_request_changes_where_it_leads(till: Till, http: httpx.AsyncClient) -> None:
    token = await till.open()
    answer = await click(
        http,
        token,
        "pay",
        params={"return_url": "https://evil.example/", "outcome": "declined", "next": "//evil.example"},
        data={"return_url": "https://evil.example/"},
        headers={"Referer": "https://evil.example/", "X-Forwarded-Host": "evil.example", "Origin": "null"},
    )
    location = urlsplit(answer.headers["location"])
    assert (location.scheme, location.netloc, location.path) == ("https", "shop.example", "/wallet")
    assert location.query.endswith("&outcome=paid")


@pytest.mark.parametrize(
    ("return_url", "origin"),
    [
        ("https://shop.example/wallet", "https://shop.example"),
        ("http://127.0.0.1:3000?a=b", "http://127.0.0.1:3000"),
        ("https://shop.example:/", "https://shop.example"),
    ],
)
async def test_the_browser_is_told_to_run_frame_and_reveal_nothing(
    till: Till, http: httpx.AsyncClient, return_url: str, origin: str
) -> None:
    token = await till.open(return_url=return_url)
    answer = await http.get(f"/sandbox/checkout/{token}")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": f"'self' {origin}",
    }
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert (await click(http, token, "pay")).headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("token", ["A" * 43, "short", "%00", "%ff", "..%2f..%2f", "A" * 5000])
async def test_an_unknown_page_is_not_found(till: Till, http: httpx.AsyncClient, token: str) -> None:
    async with till.world.unchanged():
        answers = [await http.get(f"/sandbox/checkout/{token}")]
        answers += [await click(http, token, step) for step in ("pay", "decline", "abandon")]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


async def test_there_is_no_fourth_way_and_looking_pays_nothing(till: Till, http: httpx.AsyncClient) -> None:
    token = await till.open()
    async with till.world.unchanged():
        assert (await click(http, token, "refund")).status_code == 404
        assert (await http.get(f"/sandbox/checkout/{token}/pay")).status_code == 405
    assert (await page_of(http, token)).all("form", "action") != []


async def test_with_another_provider_there_is_no_page(till: Till, configured: Settings) -> None:
    # Given a server that takes payments with another provider, and the token of a checkout
    token = await till.open()
    app = create_app(configured)
    async with serving(app) as address, httpx.AsyncClient(base_url=address) as elsewhere:
        assert (await elsewhere.get(f"/sandbox/checkout/{token}")).status_code == 200
        app.state.platform = replace(app.state.platform, payments={})
        # Then
        async with till.world.unchanged():
            assert (await elsewhere.get(f"/sandbox/checkout/{token}")).status_code == 404
            for step in ("pay", "decline", "abandon"):
                assert (await click(elsewhere, token, step)).status_code == 404


async def test_the_page_is_not_part_of_the_api(http: httpx.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if "sandbox" in path]
