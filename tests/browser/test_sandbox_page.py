"""A person clicks through the sandbox's hosted page, on a phone and on a desk."""

from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from app.adapters.payments.port import Order
from app.core.config import ProviderName
from app.kernel.platform import Platform
from tests.browser.conftest import DESKTOP, PHONE, Browser

GROUND = "return getComputedStyle(document.body).backgroundColor"


async def checkout(platform: Platform, shop: str, description: str = "Top-up of your wallet") -> tuple[str, Order]:
    """The page of a fresh checkout, and what it is for."""
    order = Order(uuid4(), 123450, "INR", description, f"{shop}/wallet?tab=money", 900)
    return (await platform.payments[ProviderName.SANDBOX].open_checkout(order)).url, order


async def fits(browser: Browser) -> bool:
    """Whether nothing on the page is wider than the page."""
    return bool(await browser.run("return document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize(
    ("button", "outcome", "sentence"),
    [
        ("Pay ₹1,234.50", "paid", "This is paid."),
        ("Decline", "declined", "The payment was declined."),
        ("Go back without paying", "abandoned", "You went back without paying."),
    ],
)
async def test_each_button_leads_back_to_the_shop(
    browser: Browser,
    shown_platform: Platform,
    shop: str,
    size: tuple[int, int],
    button: str,
    outcome: str,
    sentence: str,
) -> None:
    # Given the page, as it opens
    page, order = await checkout(shown_platform, shop)
    await browser.resize(*size)
    await browser.open(page)
    text = await browser.reads("₹1,234.50")
    assert "Top-up of your wallet" in text
    assert await browser.choices() == ["Pay ₹1,234.50", "Decline", "Go back without paying"]
    assert await fits(browser)
    await browser.screenshot(f"sandbox-open-{size[0]}")
    # When the button is clicked
    await browser.click(button)
    # Then the other site opens and is told
    await browser.reads("The shop")
    came_back = urlsplit(await browser.url())
    assert f"{came_back.scheme}://{came_back.netloc}{came_back.path}" == f"{shop}/wallet"
    assert parse_qs(came_back.query) == {"tab": ["money"], "payment": [str(order.payment_id)], "outcome": [outcome]}
    # And the page says from now on how it went, and leads back the same way
    await browser.open(page)
    await browser.reads(sentence)
    assert await browser.choices() == ["Go back"]
    assert await fits(browser)
    await browser.screenshot(f"sandbox-{outcome}-{size[0]}")
    await browser.click("Go back")
    assert urlsplit(await browser.url()) == came_back
    assert await browser.complaints() == []


async def test_a_long_and_hostile_description_breaks_nothing(
    browser: Browser, shown_platform: Platform, shop: str
) -> None:
    hostile = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">" + "W" * 300
    page, _ = await checkout(shown_platform, shop, hostile)
    await browser.resize(*PHONE)
    await browser.open(page)
    assert hostile[:40] in await browser.reads("Decline")
    assert await browser.run("return document.title") == "Pay ₹1,234.50 – LocalBazaar sandbox"
    assert await fits(browser)
    await browser.screenshot("sandbox-hostile-390")
    assert await browser.complaints() == []


async def test_who_prefers_the_dark_gets_it(browser: Browser, shown_platform: Platform, shop: str) -> None:
    page, _ = await checkout(shown_platform, shop)
    await browser.resize(*PHONE)
    await browser.open(page)
    light = await browser.run(GROUND)
    await browser.prefer("dark")
    try:
        assert await browser.run(GROUND) != light
        await browser.screenshot("sandbox-open-dark-390")
        await browser.click("Decline")
        await browser.open(page)
        await browser.reads("declined")
        await browser.screenshot("sandbox-declined-dark-390")
    finally:
        await browser.prefer("light")
