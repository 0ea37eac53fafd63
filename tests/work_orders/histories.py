"""Random histories of work orders: people who are buyers and boosters at once do whatever comes to their minds."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from app.models.users import Role
from app.models.work_orders import RejectionCategory
from app.models.work_orders import WorkOrderStatus as Status
from app.services.work_orders import statistics
from tests.support.world import Person, World
from tests.work_orders import steps
from tests.work_orders.steps import PATH

REASON = {"reason": "For the test."}
PRICES = (("GOLD", 400_00), ("INR", 333_33))
WAITING = {Status.EVIDENCE_SUBMITTED, Status.UNDER_REVIEW}


class OrderHistory:
    """An advertiser with a team mate, three who buy and work for each other, and the staff."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random = world, random.Random(seed)
        self.people: list[Person] = []
        self.sellers: list[Person] = []
        self.offered: list[dict[str, Any]] = []
        self.done: Counter[str] = Counter()

    async def begin(self) -> None:
        advertiser, mate = await steps.advertiser(self.world), await steps.advertiser(self.world)
        team_id, _ = await steps.team(advertiser, mate)
        self.sellers = [advertiser, mate]
        self.offered = [
            await steps.service(advertiser, price_minor=price, currency=currency, team_id=team_id)
            for currency, price in PRICES
        ]
        self.people = [await self.world.person(Role.BOOSTER) for _ in range(3)]
        for person in self.people:
            for currency, price in PRICES:
                await steps.top_up(self.world, person, 3 * price, currency)

    async def move(self) -> None:
        """One of all the things that people do, more often those that others wait for."""
        moves: list[tuple[int, Callable[[], Awaitable[httpx.Response | None]]]] = [
            (4, self.buy), (5, self.assign), (6, self.start), (8, self.submit), (1, self.open_review),
            (5, self.approve), (3, self.reject), (1, self.cancel), (2, self.dispute), (4, self.resolve),
            (2, self.override), (2, self.rate), (1, self.merge),
        ]  # fmt: skip
        (chosen,) = self.random.choices([move for _, move in moves], [weight for weight, _ in moves])
        answer = await chosen()
        if answer is None:
            return
        assert answer.status_code < 500, answer.text
        if answer.is_success:
            self.done[chosen.__name__] += 1

    async def orders(self) -> list[dict[str, Any]]:
        return await self.world.rows("work_orders", advertiser_id=self.sellers[0].id)

    async def _do(
        self, statuses: set[Status], who: Callable[[dict[str, Any]], list[Person]], action: str, body: Any = None
    ) -> httpx.Response | None:
        """By one of those who may, towards an order in one of these statuses, if there is one."""
        found = [order for order in await self.orders() if order["status"] in statuses]
        if not found:
            return None
        order = self.random.choice(found)
        return await self.random.choice(who(order)).post(f"{PATH}/{order['id']}/{action}", body)

    def _in_charge(self, _: dict[str, Any]) -> list[Person]:
        return [*self.sellers, self.world.support, self.world.admin]

    def _staff(self, _: dict[str, Any]) -> list[Person]:
        return [self.world.support, self.world.admin]

    def _who(self, *columns: str) -> Callable[[dict[str, Any]], list[Person]]:
        return lambda order: [one for one in self.people if one.id in {order[column] for column in columns}]

    async def buy(self) -> httpx.Response:
        wanted = steps.purchase_of(self.random.choice(self.offered))
        return await self.random.choice(self.people).post(PATH, wanted)

    async def assign(self) -> httpx.Response | None:
        body = {"booster_id": str(self.random.choice(self.people).id)}
        return await self._do({Status.PENDING, Status.ASSIGNED}, self._in_charge, "assign", body)

    async def start(self) -> httpx.Response | None:
        return await self._do({Status.ASSIGNED}, self._who("booster_id"), "start")

    async def submit(self) -> httpx.Response | None:
        found = [o for o in await self.orders() if o["status"] in {Status.IN_PROGRESS, Status.REJECTED}]
        if not found:
            return None
        order = self.random.choice(found)
        (booster,) = self._who("booster_id")(order)
        return await booster.post(f"{PATH}/{order['id']}/submit", await steps.evidence(booster))

    async def open_review(self) -> httpx.Response | None:
        return await self._do({Status.EVIDENCE_SUBMITTED}, self._in_charge, "open-review")

    async def approve(self) -> httpx.Response | None:
        return await self._do(WAITING, self._in_charge, "approve")

    async def reject(self) -> httpx.Response | None:
        category = self.random.choice(list(RejectionCategory))
        return await self._do(WAITING, self._in_charge, "reject", REASON | {"category": category})

    async def cancel(self) -> httpx.Response | None:
        if self.random.random() < 0.5:
            return await self._do({Status.PENDING}, self._who("buyer_id"), "cancel", REASON)
        return await self._do(set(Status), self._staff, "cancel", REASON)

    async def dispute(self) -> httpx.Response | None:
        disputed = set(Status) - {Status.PENDING, Status.DISPUTED}
        return await self._do(disputed, self._who("buyer_id", "booster_id"), "dispute", REASON)

    async def resolve(self) -> httpx.Response | None:
        found = [order for order in await self.orders() if order["status"] == Status.DISPUTED]
        if not found:
            return None
        order = self.random.choice(found)
        outcome = self.random.choice(["COMPLETED", "CANCELLED", "RESUMED", "RESUMED"])
        body: dict[str, Any] = {"outcome": outcome, "resolution_notes": "For the test."}
        if outcome != "RESUMED":
            part = self.random.choice([0, 1, order["price_minor"], self.random.randint(0, order["price_minor"])])
            body |= {"booster_minor": part, "buyer_minor": order["price_minor"] - part}
        return await self.world.support.post(f"{PATH}/{order['id']}/resolve", body)

    async def override(self) -> httpx.Response | None:
        outcome = self.random.choice(["COMPLETED", "CANCELLED"])
        closed = {Status.COMPLETED, Status.CANCELLED, Status.REJECTED}
        return await self._do(closed, lambda _: [self.world.admin], "override", REASON | {"outcome": outcome})

    async def rate(self) -> httpx.Response | None:
        return await self._do(
            {Status.COMPLETED}, self._who("buyer_id"), "rate", {"rating": self.random.randint(1, 5)}
        )  # fmt: skip

    async def merge(self) -> None:
        async with self.world.platform.database.write() as session:
            await statistics.merge(session)
