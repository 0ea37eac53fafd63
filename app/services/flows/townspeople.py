"""Who lives in the demo town, to be signed in as: read from its file, without any of the product."""

import json
from pathlib import Path
from typing import Any, Final

PASSWORD: Final = "neighbourhood-demo-1"  # noqa: S105 - of invented people, in development only
_FILE: Final = Path(__file__).with_name("town.json")
_TRADES: Final = ("advertisers", "boosters")


def read() -> dict[str, Any]:
    """The whole file: its regions and people."""
    town: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return town


def sample_sign_ins() -> list[tuple[str, str]]:
    """A few people of the town to sign in as: what they are, and their email."""
    town = read()
    staff = [(" and ".join(person["roles"]), person["email"]) for person in town["people"]["staff"]]
    customer, provider = town["people"]["customers"][0], town["people"]["providers"][0]
    work = [(role.removesuffix("s"), person["email"]) for role in _TRADES for person in town["people"][role]]
    return [("customer", customer["email"]), ("provider", provider["email"]), *staff, *work]


def plumbers() -> list[str]:
    """Emails of providers who do plumbing in the first region, for the demo."""
    town = read()
    home = town["regions"][0]["code"]
    everybody = town["people"]["providers"]
    return [person["email"] for person in everybody if person["region"] == home and "plumbing" in person["services"]]


def home_code() -> str:
    """The code of the first region."""
    code: str = read()["regions"][0]["code"]
    return code
