"""An application and a worker's platform that may ask a push service on the loopback."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.database import Statement
from app.jobs import relay
from app.kernel.platform import Platform, open_platform
from tests.conftest import serving
from tests.support.fake_push import Browser, PushService
from tests.support.world import Person, World
from tests.ws.sockets import Served, served

DEVICES_PER_USER = 3
REFUSALS = 3
DEVICES = "/api/v1/me/devices"
PREFERENCES = "/api/v1/me/notification-preferences"


class Pushing(NamedTuple):
    """The pieces, with settings of their own."""

    app: Served
    platform: Platform
    service: PushService
    url: str

    def browser(self) -> Browser:
        return Browser(self.service, self.url)

    async def register(self, person: Person, browser: Browser | None = None) -> tuple[Browser, str]:
        """A browser of this person, and the id of the device."""
        browser = browser or self.browser()
        answer = await self.app.seen_by(person).post(DEVICES, browser.subscription)
        assert answer.status_code == 201, answer.text
        return browser, answer.json()["id"]


@pytest.fixture(scope="package")
async def pushing(configured: Settings) -> AsyncIterator[Pushing]:
    service = PushService()
    async with serving(service) as url:
        changed = {
            "push_services": ("fcm.googleapis.com", "*.notify.windows.com", url),
            "push_devices_per_user": DEVICES_PER_USER,
            "push_refusals": REFUSALS,
            "push_seconds": 1,
        }
        async with (
            served(configured, **changed) as app,
            open_platform(configured.model_copy(update=changed)) as platform,
        ):
            yield Pushing(app, platform, service, url)


_QUEUED = Statement(text("SELECT entrypoint, payload FROM pgqueuer"))


@pytest.fixture
async def nothing_waits(platform: Platform, world: World) -> AsyncIterator[None]:
    """What other tests left to relay is relayed, and neither their jobs nor ours are carried out."""
    await relay.skip(platform)
    await world.execute("DELETE FROM pgqueuer")
    yield
    await world.execute("DELETE FROM pgqueuer")
