"""A client app in small: it reads its lists once and keeps them fresh by the events of its socket, as docs/events.md
says. Nothing here knows more than a client can know."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.tasks import end
from tests.support.world import Person

Item = dict[str, Any]
Envelope = Mapping[str, Any]
SIDES: Final = ("buyer", "booster", "advertiser")
"""How somebody can stand towards a work order that is in a list of theirs."""


async def pages(person: Person, path: str, **filters: str) -> list[Item]:
    """A whole list."""
    items: list[Item] = []
    cursor: str | None = None
    while True:
        answer = await person.get(path, params={"limit": 100} | filters | ({"cursor": cursor} if cursor else {}))
        if answer.status_code == 403:
            return []  # not a provider
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _changed_by(event: Envelope) -> Item:
    """What an event changes about a request besides its status."""
    match event["name"]:
        case "service_request.purchased":
            return {"buyers_count": event["buyers_count"]}
        case "service_request.completed":
            proof = {"proof_id": event["proof_id"], "notes": event["notes"]}
            return proof | {"completed_by": event["provider_id"], "send_back_reason": None}
        case "service_request.approved":
            return {"assigned_provider_id": event["provider_id"]}
        case "service_request.sent_back":
            return {"send_back_reason": event["reason"], "completed_by": None, "proof_id": None, "notes": None}
        case "service_request.cancelled":
            return {"cancel_reason": event["reason"]}
        case _:
            return {}


class Lists:
    """What one user sees: requests of their own, leads that they bought, work orders, wallet, feed."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.requests: dict[str, Item] = {}
        self.leads: dict[str, Item] = {}
        self.orders: dict[str, dict[str, Item]] = {side: {} for side in SIDES}
        self.balances: dict[str, Item] = {}
        self.feed: dict[str, Item] = {}
        self._seen: set[str] = set()

    async def fetch(self) -> None:
        """The snapshot."""
        await asyncio.gather(
            self._fetch_requests(),
            self._fetch_leads(),
            *(self._fetch_orders(side) for side in SIDES),
            self._fetch_balances(),
            self._fetch_feed(),
        )

    async def _fetch_requests(self) -> None:
        self.requests = {item["id"]: item for item in await pages(self.person, "/api/v1/service-requests")}

    async def _fetch_leads(self) -> None:
        self.leads = {item["id"]: item for item in await pages(self.person, "/api/v1/leads")}

    async def _fetch_orders(self, side: str) -> None:
        orders = await pages(self.person, "/api/v1/work-orders", side=side)
        self.orders[side] = {item["id"]: item for item in orders}

    async def _fetch_balances(self) -> None:
        wallet = (await self.person.get("/api/v1/wallet")).json()
        self.balances = {balance["currency"]: balance for balance in wallet["balances"]}

    async def _fetch_feed(self) -> None:
        self.feed = {item["event"]["id"]: item for item in await pages(self.person, "/api/v1/notifications")}

    async def apply(self, event: Envelope) -> None:
        """One event of the socket; one that came before changes nothing."""
        if event["id"] in self._seen:
            return
        self._seen.add(event["id"])
        if not event.get("quiet"):
            self.feed.setdefault(event["id"], {"event": dict(event), "read": False})
        family = event["name"].partition(".")[0]
        reducers: dict[str, Callable[[Envelope], Awaitable[None]]] = {
            "service_request": self._request,
            "lead": self._lead,
            "work_order": self._order,
            "wallet": self._wallet,
            "notification": self._read,
        }
        if family in reducers:
            await reducers[family](event)

    async def _request(self, event: Envelope) -> None:
        request_id = event["service_request_id"]
        if event["name"] == "service_request.created":
            if event.get("quiet"):  # it is my own
                found = await self.person.get(f"/api/v1/service-requests/{request_id}")
                self.requests[request_id] = found.json()
            return
        for lead in self.leads.values():
            if lead["service_request_id"] == request_id:
                lead["request_status"] = event["status"]
        mine = self.requests.get(request_id)
        if mine is not None:
            mine |= {"status": event["status"], "updated_at": event["timestamp"]} | _changed_by(event)

    async def _lead(self, event: Envelope) -> None:
        lead = self.leads.get(event["lead_id"])
        if event["name"] == "lead.purchased" and lead is None:
            await self._fetch_leads()
            return
        if lead is None:
            return
        match event["name"]:
            case "lead.reported":
                lead |= {name: event[name] for name in ("report_reason", "report_note")} | {"status": "REPORTED"}
            case "lead.refunded":
                lead |= {"status": "REFUNDED", "decision_reason": event["decision_reason"]}
            case "lead.report_refused":
                lead |= {"status": "REFUSED", "decision_reason": event["reason"]}

    async def _order(self, event: Envelope) -> None:
        """An order as it is now belongs to the lists of those who it names."""
        order_id = event["work_order_id"]
        found = await self.person.get(f"/api/v1/work-orders/{order_id}")
        order = found.json() if found.is_success else {}
        for side, orders in self.orders.items():
            orders.pop(order_id, None)
            if order.get(f"{side}_id") == str(self.person.id):
                orders[order_id] = order

    async def _wallet(self, event: Envelope) -> None:
        if event["name"] != "wallet.changed":
            return
        zero = {"currency": event["currency"], "balance_minor": 0, "owed_minor": 0}
        balance = self.balances.setdefault(event["currency"], zero)
        balance |= {name: event[name] for name in ("balance_minor", "owed_minor") if event[name] is not None}

    async def _read(self, event: Envelope) -> None:
        if event["event_ids"] is None:
            await self._fetch_feed()
            return
        for event_id in event["event_ids"]:
            if event_id in self.feed:
                self.feed[event_id]["read"] = True

    def shown(self) -> dict[str, Any]:
        """All of it in the order of the lists, to be compared."""
        requests = [
            item | {name: moment(item[name]) for name in ("created_at", "updated_at")}
            for item in self.requests.values()
        ]
        orders = {
            f"orders as {side}": sorted(orders.values(), key=lambda item: str(item["id"]))
            for side, orders in self.orders.items()
        }
        return orders | {
            "requests": sorted(requests, key=lambda item: str(item["id"])),
            "leads": sorted(self.leads.values(), key=lambda item: str(item["id"])),
            "balances": sorted(self.balances.values(), key=lambda item: str(item["currency"])),
            "feed": sorted(self.feed.values(), key=lambda item: str(item["event"]["id"])),
            "unread": sum(not item["read"] for item in self.feed.values()),
        }


class Client:
    """Lists, and a socket that keeps them fresh. It may be cut off, and resumes."""

    def __init__(self, person: Person) -> None:
        self.lists = Lists(person)
        self._socket: ClientConnection | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last: str | None = None
        self.applied = 0

    async def start(self) -> None:
        """First the socket, then the snapshot, then what came on the socket since it was ready."""
        self._socket = await self._open()
        await self.lists.fetch()
        self._listening = asyncio.create_task(self._listen(self._socket))

    async def cut(self) -> None:
        """The line breaks."""
        if self._listening is not None and self._socket is not None:
            await end(self._listening)
            await self._socket.close()

    async def come_back(self) -> None:
        """On a new line, go on behind the last event; without any, begin anew."""
        if self._last is None:
            return await self.start()
        self._socket = await self._open()
        await self._socket.send(json.dumps({"op": "resume", "after": self._last}))
        # What comes before is live, and comes again behind this.
        while json.loads(await self._socket.recv()).get("type") != "resumed":
            pass
        self._listening = asyncio.create_task(self._listen(self._socket))

    async def _open(self) -> ClientConnection:
        person = self.lists.person
        ticket = (await person.post("/api/v1/ws/tickets")).json()["ticket"]
        url = str(person.http.base_url).replace("http", "ws", 1).rstrip("/")
        socket = await connect(f"{url}/ws/notifications/?ticket={ticket}", proxy=None)
        assert json.loads(await socket.recv()) == {"type": "ready"}
        return socket

    async def _listen(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for frame in socket:
                event = json.loads(frame)
                if "event" in event:
                    await self.lists.apply(event)
                    self._last = event["id"]
                    self.applied += 1


async def becomes_fresh(client: Client, within_seconds: float = 10) -> None:
    """The client's lists come to be what a fresh read shows."""
    fresh = Lists(client.lists.person)
    await fresh.fetch()
    try:
        async with asyncio.timeout(within_seconds):
            while client.lists.shown() != fresh.shown():  # noqa: ASYNC110 - the socket tells no end
                await asyncio.sleep(0.02)
    except TimeoutError:
        kept, wanted = client.lists.shown(), fresh.shown()
        for name in wanted:
            assert kept[name] == wanted[name], name
