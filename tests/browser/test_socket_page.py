"""A developer watches their own events on the page that documents the socket."""

import asyncio

from selenium.webdriver.common.by import By

from app.core.ids import uuid7
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.services.service_requests.events import SentBack
from tests.browser.conftest import DESKTOP, PHONE, Browser
from tests.support.world import PASSWORD, Person, World


async def tell(platform: Platform, person: Person, words: str) -> None:
    async with platform.database.write() as session:
        event = SentBack(service_request_id=person.id, reason=words, status="IN_PROGRESS")
        await emit(session, event, subject_type="service_request", subject_id=uuid7(), to=[person.id])


async def enter(browser: Browser, **values: str) -> None:
    """Type into the fields with these ids."""

    def type_all() -> None:
        for name, value in values.items():
            field = browser.driver.find_element(By.ID, name)
            field.clear()
            field.send_keys(value)

    await asyncio.to_thread(type_all)


async def press(browser: Browser, name: str) -> None:
    await asyncio.to_thread(lambda: browser.driver.find_element(By.ID, name).click())


async def counted(browser: Browser, **wanted: int) -> None:
    """Wait until these counts are shown."""
    found: dict[str, int] = {}
    async with asyncio.timeout(15):
        while found != wanted:
            found = {
                name: int(await browser.run(f"return document.getElementById('{name}').textContent")) for name in wanted
            }
            await asyncio.sleep(0.05)


async def logged(browser: Browser) -> list[str]:
    """The sentences of the events on the page, oldest first."""
    found: list[str] = await browser.run(
        "return [...document.querySelectorAll('#log pre')].map((line) => line.textContent)"
        ".filter((text) => text.includes('\"event\"')).map((text) => JSON.parse(text).reason).reverse()"
    )
    return found


async def test_events_are_shown_once_and_none_is_missed_over_a_dropped_line(
    browser: Browser, shown_at: str, platform: Platform, world: World
) -> None:
    # Given somebody who signs in on the page
    person = await world.person()
    await browser.resize(*DESKTOP)
    await browser.open(f"{shown_at}/docs/socket")
    await browser.complaints()
    await enter(browser, email=person.email, password=PASSWORD)
    await press(browser, "connect")
    await browser.reads("Connected.")
    # Then events are shown as they happen
    await counted(browser, others=1)
    for words in ("one", "two"):
        await tell(platform, person, words)
    await counted(browser, events=2)
    # and what happens while the line is dropped comes after it, and nothing twice
    await press(browser, "drop")
    await tell(platform, person, "three")
    await browser.reads('"resumed"')
    await tell(platform, person, "four")
    await counted(browser, events=4, reconnects=1)
    assert await logged(browser) == ["one", "two", "three", "four"]
    # and a frame that is sent is answered
    await press(browser, "send")
    await browser.reads('"pong"')
    await browser.screenshot("socket-live-1280")
    await press(browser, "stop")
    await browser.reads("Not connected.")
    # and the browser had nothing to complain of: no script, style or line was blocked
    assert await browser.complaints() == []


async def test_a_token_works_too_a_wrong_password_is_said_and_hostile_words_stay_words(
    browser: Browser, shown_at: str, platform: Platform, world: World
) -> None:
    person = await world.person()
    await browser.resize(*PHONE)
    await browser.open(f"{shown_at}/docs/socket")
    # When the password is wrong
    await enter(browser, email=person.email, password="not this one")
    await press(browser, "connect")
    # Then the page says so
    await browser.reads("Email and password do not fit together.")
    await browser.complaints()
    # When the token is pasted
    await enter(browser, token=person.access_token)
    await press(browser, "connect")
    await browser.reads("Connected.")
    await counted(browser, others=1)
    # Then what others wrote is shown as what it is
    await tell(platform, person, "<img src=x onerror=\"document.title='broken'\">")
    await browser.reads("<img src=x")
    assert await browser.run("return document.title") == "The socket – LocalBazaar"
    assert await browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    await browser.screenshot("socket-live-390")
    # When the session ends
    assert (await person.post("/api/v1/auth/logout")).is_success
    # Then the page says so and does not come back again and again
    await browser.reads("Closed with 4401")
    await counted(browser, reconnects=0)
    assert await browser.complaints() == []
