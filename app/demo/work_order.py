"""A work order, played from purchase to payment: nothing moves to the booster before evidence is approved."""

import io
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import httpx
from PIL import Image, ImageDraw
from rich.console import Console

from app.core.money import shown
from app.demo.client import Person, Stage, perform
from app.services.flows import townspeople as town

_CURRENCY: Final = "GOLD"
_PRICE_MINOR: Final = 500_00
_TITLE: Final = "Mythic+20 dungeon run"


class _Money(NamedTuple):
    """Who has what, in minor units of the house currency."""

    buyer: int
    held: int
    booster: int

    def __str__(self) -> str:
        parts = zip(self._fields, self, strict=True)
        return ", ".join(f"{name} {shown(amount, _CURRENCY)}" for name, amount in parts)


_BEFORE: Final = _Money(_PRICE_MINOR, 0, 0)
_HELD: Final = _Money(0, _PRICE_MINOR, 0)
_PAID: Final = _Money(0, 0, _PRICE_MINOR)


class _Cast(NamedTuple):
    buyer: Person
    booster: Person
    advertiser: Person
    team_mate: Person


async def play(url: str, console: Console) -> int:
    """Play the flow and check every balance before and after each step; 0 if all of it was as promised."""
    return await perform(url, console, _work_order, "paid once, and not before the evidence was right")


async def _work_order(stage: Stage) -> list[str]:
    cast = await _gather(stage.http)
    await stage.listen(*cast)
    story = _Story(cast, stage.tell)
    await story.play()
    return story.faults


async def _gather(http: httpx.AsyncClient) -> _Cast:
    """A new buyer with just the price in hand, a new booster with nothing, and the town's advertisers."""
    emails = [email for role, email in town.sample_sign_ins() if role == "advertiser"]
    admin = Person(http, "admin")
    await admin.sign_in(next(email for role, email in town.sample_sign_ins() if role == "admin"), town.PASSWORD)
    buyer, booster = Person(http, "Demo Buyer"), Person(http, "Demo Booster")
    for person in (buyer, booster):
        await person.sign_up()
    wanted = {"role": "booster", "statement": "Ten seasons of Mythic+ in time."}
    application = await booster.do("POST", "/api/v1/me/applications", json=wanted)
    await admin.do("POST", f"/api/v1/role-applications/{application['id']}/approve")
    gift = {"amount_minor": _PRICE_MINOR, "currency": _CURRENCY, "reason": "the demo's gold"}
    await admin.do("POST", f"/api/v1/admin/users/{buyer.id}/top-ups", json=gift)
    sellers = [Person(http, "advertiser") for _ in emails]
    for seller, email in zip(sellers, emails, strict=True):
        await seller.sign_in(email, town.PASSWORD)
    return _Cast(buyer, booster, sellers[0], sellers[1])


class _Story:
    """The steps of one order, and what was not as promised."""

    def __init__(self, cast: _Cast, tell: Callable[[str, str], None]) -> None:
        self._cast, self._tell = cast, tell
        self._order: dict[str, Any] = {}
        self.faults: list[str] = []

    async def play(self) -> None:
        buyer, booster, advertiser, team_mate = self._cast
        await self._check("before", _BEFORE)
        await self._step(buyer, "buys", self._buy(), "PENDING", _HELD)
        assigned = {"booster_id": booster.id}
        await self._step(team_mate, "assigns the booster", self._do(team_mate, "assign", assigned), "ASSIGNED", _HELD)
        await self._step(booster, "starts", self._do(booster, "start"), "IN_PROGRESS", _HELD)
        first = await self._evidence("blurred")
        await self._step(booster, "hands in evidence", self._do(booster, "submit", first), "EVIDENCE_SUBMITTED", _HELD)
        await self._refused(booster)
        await self._step(advertiser, "opens the review", self._do(advertiser, "open-review"), "UNDER_REVIEW", _HELD)
        reason = {"reason": "The screenshot does not show the timer.", "category": "unclear_evidence"}
        await self._step(advertiser, "rejects it", self._do(advertiser, "reject", reason), "REJECTED", _HELD)
        await booster.hears("work_order.rejected")
        second = await self._evidence("timer 31:24 of 33:00")
        await self._step(booster, "hands in again", self._do(booster, "submit", second), "EVIDENCE_SUBMITTED", _HELD)
        await self._step(team_mate, "approves", self._do(team_mate, "approve"), "COMPLETED", _PAID)
        for person in (buyer, booster, advertiser):
            await person.hears("work_order.completed")
        await self._step(buyer, "rates it", self._do(buyer, "rate", {"rating": 5}), "COMPLETED", _PAID)
        rounds = await booster.do("GET", f"{self._path}/evidence")
        if [round_["verdict"] for round_ in rounds] != ["rejected", "approved"]:
            self.faults.append(f"the rounds of evidence say {[round_['verdict'] for round_ in rounds]}")

    @property
    def _path(self) -> str:
        return f"/api/v1/work-orders/{self._order['id']}"

    async def _buy(self) -> dict[str, Any]:
        page = await self._cast.buyer.do(
            "GET", "/api/v1/advertised-services", params={"advertiser_id": self._cast.advertiser.id, "limit": 100}
        )
        service = next(one for one in page["items"] if one["title"] == _TITLE)
        wanted = {"advertised_service_id": service["id"], "revision": service["revision"]}
        bought: dict[str, Any] = await self._cast.buyer.do("POST", "/api/v1/work-orders", json=wanted)
        return bought

    async def _do(self, person: Person, action: str, body: Any = None) -> dict[str, Any]:
        moved: dict[str, Any] = await person.do("POST", f"{self._path}/{action}", json=body)
        return moved

    async def _step(
        self, person: Person, what: str, deed: Awaitable[dict[str, Any]], status: str, money: _Money
    ) -> None:
        self._order = await deed
        self._tell(person.name, f"{what}: {self._order['status']}")
        if self._order["status"] != status:
            self.faults.append(f"after “{what}” the order is {self._order['status']} instead of {status}")
        await self._check(what, money)

    async def _check(self, when: str, promised: _Money) -> None:
        """Show the balances, and keep it if they are not as promised."""
        found = _Money(
            await _balance(self._cast.buyer),
            self._order["price_minor"] if self._order and self._order["earned_minor"] is None else 0,
            await _balance(self._cast.booster),
        )
        self._tell("", f"[yellow]{found}[/]")
        if found != promised:
            self.faults.append(f"after “{when}”: {found} instead of {promised}")

    async def _refused(self, booster: Person) -> None:
        answer = await booster.call("POST", f"{self._path}/approve")
        self._tell(booster.name, f"tries to approve it: {answer.status_code} {answer.json().get('code')}")
        if answer.status_code != httpx.codes.FORBIDDEN:
            self.faults.append(f"the booster's own approval was answered {answer.status_code}")

    async def _evidence(self, words: str) -> dict[str, Any]:
        """Upload a screenshot that says this; what the booster then hands in."""
        image, content = Image.new("RGB", (1280, 720), (24, 32, 48)), io.BytesIO()
        ImageDraw.Draw(image).text((40, 40), f"{_TITLE}: {words}", (240, 200, 80))
        image.save(content, "PNG")
        stored = await self._cast.booster.do(
            "POST",
            "/api/v1/files",
            data={"purpose": "evidence"},
            files={"file": ("screenshot.png", content.getvalue(), "image/png")},
        )
        return {"image_ids": [stored["id"]], "notes": f"Done: {words}."}


async def _balance(person: Person) -> int:
    wallet = await person.do("GET", "/api/v1/wallet")
    return sum(int(one["balance_minor"]) for one in wallet["balances"] if one["currency"] == _CURRENCY)
