"""Steps that tests of advertised services, and of what is bought, share."""

from typing import Any

from tests.support.world import Person

SERVICES = "/api/v1/advertised-services"
OWN = "/api/v1/me/advertised-services"


def described(**changed: Any) -> dict[str, Any]:
    return {
        "title": "Mythic+20 dungeon run",
        "description": "One run in time.",
        "price_minor": 500_00,
        "currency": "GOLD",
    } | changed


async def offer(advertiser: Person, **changed: Any) -> dict[str, Any]:
    """A service that is on sale, as its advertiser sees it."""
    answer = await advertiser.post(SERVICES, described(**changed))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())
