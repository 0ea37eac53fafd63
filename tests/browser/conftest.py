"""A real browser, and a server whose pages it can reach. Not part of `make test`: `make browser` runs these."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from app.core.config import Settings
from app.kernel.platform import Platform, open_platform
from app.main import create_app
from tests.conftest import serving
from tests.support.receiver import Receiver

SCREENSHOTS = Path(__file__).parents[2] / "artifacts" / "screenshots"
PHONE, DESKTOP = (390, 844), (1280, 800)
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_PATIENCE_SECONDS = 15


class Browser:
    """Chromium as a person uses it: opens addresses, clicks what it reads. Each call leaves the event loop free."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    async def resize(self, width: int, height: int) -> None:
        """The page's own size in CSS pixels; a window cannot be as narrow as a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await asyncio.to_thread(self.driver.execute_cdp_cmd, "Emulation.setDeviceMetricsOverride", metrics)

    async def prefer(self, scheme: str) -> None:
        """What the person has told their device: "light" or "dark"."""
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        await asyncio.to_thread(self.driver.execute_cdp_cmd, "Emulation.setEmulatedMedia", features)

    async def open(self, url: str) -> None:
        await asyncio.to_thread(self.driver.get, url)

    async def click(self, words: str) -> None:
        """Click the button or the link that reads so, and wait until its page is gone."""
        await asyncio.to_thread(self._click, words)

    async def reads(self, words: str) -> str:
        """All that can be read on the page, once these words can."""
        await asyncio.to_thread(self._wait, lambda _: words in self._text())
        return await asyncio.to_thread(self._text)

    async def url(self) -> str:
        return await asyncio.to_thread(lambda: str(self.driver.current_url))

    async def run(self, script: str) -> Any:
        """What a script in the page returns."""
        return await asyncio.to_thread(self.driver.execute_script, script)

    async def choices(self) -> list[str]:
        """What the buttons and links read, from top to bottom."""
        return await asyncio.to_thread(lambda: [element.text for element in self._clickable()])

    async def screenshot(self, name: str) -> Path:
        """Keep what the page looks like as `artifacts/screenshots/<name>.png`."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        assert await asyncio.to_thread(self.driver.save_screenshot, str(path))
        return path

    async def complaints(self) -> list[str]:
        """What the browser itself had to say against the pages since the last time: blocked, failed, broken."""
        entries = await asyncio.to_thread(self.driver.get_log, "browser")
        return [entry["message"] for entry in entries]

    def _clickable(self) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, "button, a"))

    def _click(self, words: str) -> None:
        [target] = [element for element in self._clickable() if element.text == words]
        before = self.driver.find_element(By.TAG_NAME, "html").id
        target.click()
        self._wait(lambda driver: driver.find_element(By.TAG_NAME, "html").id != before)

    def _text(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def _wait(self, condition: Any) -> None:
        WebDriverWait(self.driver, _PATIENCE_SECONDS, poll_frequency=0.05).until(condition)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests, with a profile of its own that is thrown away."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="localbazaar-browser-") as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


@pytest.fixture(scope="session")
async def shown_at(configured: Settings) -> AsyncIterator[str]:
    """The address of a server that knows its own address, so that the pages it names are its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = configured.model_copy(update={"public_url": f"http://127.0.0.1:{port}"})
    async with serving(create_app(settings), port) as address:
        assert address == settings.public_url
        yield address


@pytest.fixture(scope="session")
async def shown_platform(configured: Settings, shown_at: str) -> AsyncIterator[Platform]:
    """A platform that hands out addresses of that server."""
    async with open_platform(configured.model_copy(update={"public_url": shown_at})) as platform:
        yield platform


@pytest.fixture
async def shop() -> AsyncIterator[str]:
    """The address of another site: where a payer comes from and goes back to."""
    async with serving(Receiver()) as address:
        yield address
