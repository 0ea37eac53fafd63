"""The limit: what Python, one process of it, can do with the product's own statements and nothing else.

Raw ASGI and asyncpg run the SQL text of the product with the same parameters and answer documents of the same shape.
There is no token, no validation, no masking, no limit on how often, no pool to speak of: whatever the product takes
longer is its own cost.
"""

import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import uvicorn
from pydantic_core import from_json

from app import services
from app.core.config import settings
from app.core.ids import uuid7
from app.core.pagination import NEWEST, next_cursor
from app.kernel import ledger
from app.kernel.ledger import Account, AccountKind, Posting
from app.kernel.lifecycle import Lifecycle
from app.kernel.lifecycle_sql import compile_creation, compile_transition
from app.schemas.base import Page
from app.schemas.chats import Message
from app.schemas.service_requests import Lead, ServiceRequest, ServiceRequestState
from app.schemas.work_orders import WorkOrderState
from app.services.chats import sending
from app.services.service_requests import leads, purchase, queries
from app.services.service_requests import lifecycle as requests
from app.services.work_orders import lifecycle as orders
from app.services.work_orders import purchase as order_purchase
from bench.bare import Pool, Prepared, encoder

services.load_declarations()

PAGE: Final = 20
_COMMISSION_BASIS_POINTS: Final = 1_000

Answer = Callable[[Pool, str, str, bytes], Awaitable[bytes]]


def _transition(lifecycle: Lifecycle, action: str, *names: str) -> Prepared:
    return Prepared(compile_transition(lifecycle.declared, lifecycle.declared.transitions[action]), *names)


def _creation(lifecycle: Lifecycle, columns: Sequence[str], *names: str) -> Prepared:
    return Prepared(compile_creation(lifecycle.declared, frozenset(columns)), *columns, *names)


_READ = Prepared(queries._READ, "actor_id", "actor_roles", "request_id")
_LIST = Prepared(queries._own(False), "actor_id", "before", "rows")
_COMPLETE = _transition(
    requests.LIFECYCLE, requests.Action.COMPLETE,
    "actor_id", "subject_id", "proof_id", "notes", "reason", "event_0_id", "event_1_id",
)  # fmt: skip
_LOCK_PROVIDER = Prepared(purchase._LOCK_PROVIDER, "provider_id")
_PURCHASE = _transition(
    requests.LIFECYCLE, requests.Action.PURCHASE, "actor_id", "subject_id", "reason", "event_0_id", "expire_seconds"
)
_LEAD = _creation(
    leads.LIFECYCLE,
    ("id", "service_request_id", "provider_id", "region_id", "fee_minor", "currency"),
    "actor_id", "event_0_id",
)  # fmt: skip
_SERVICE = Prepared(order_purchase._SERVICE, "service_id")
_ORDER = _creation(
    orders.LIFECYCLE,
    (
        "id", "advertised_service_id", "buyer_id", "advertiser_id", "team_id", "title", "price_minor", "currency",
        "commission_basis_points", "commission_minor", "instructions",
    ),
    "actor_id", "event_0_id", "event_0_limit",
)  # fmt: skip
_APPROVE = _transition(
    orders.LIFECYCLE, orders.Action.APPROVE,
    "actor_id", "actor_roles", "subject_id", "reason", "event_0_id", "erase_evidence_seconds",
)  # fmt: skip
_SEND = Prepared(
    sending._send(),
    "id", "conversation_id", "actor_id", "actor_roles", "original_text", "masked_text", "image_ids",
    "client_message_id",
)  # fmt: skip
_LOCK = Prepared(ledger._LOCK, "ids", "owner_ids", "kinds", "currencies", "if_open", "debt_floor")
_POST = Prepared(
    ledger._POST,
    "id", "kind", "subject_type", "subject_id", "idempotency_key", "reverses_id", "actor_id", "reason",
    "account_ids", "owner_ids", "kinds", "currencies", "amounts",
)  # fmt: skip
_STATE: Final = tuple(ServiceRequestState.model_fields)
_ORDER_STATE: Final = tuple(WorkOrderState.model_fields)
_LEAD_FIELDS: Final = tuple(Lead.model_fields)
_MESSAGE: Final = (
    "id", "conversation_id", "number", "sender_id", "text", "original_text", "image_ids", "created_at",
)  # fmt: skip

_encode_request = encoder(ServiceRequest)
_encode_page = encoder(Page[ServiceRequest])
_encode_state = encoder(ServiceRequestState)
_encode_lead = encoder(Lead)
_encode_order = encoder(WorkOrderState)
_encode_message = encoder(Message)


def _shaped(row: Any) -> dict[str, Any]:
    document = dict(row)
    document["customer"] = {name: document.pop(f"customer_{name}") for name in ("id", "name", "phone", "email")}
    return document


async def _read(pool: Pool, actor: str, request: str, _: bytes) -> bytes:
    row = await pool.run("fetchrow", _READ.sql, _READ.arguments(UUID(actor), ["customer"], UUID(request)))
    return _encode_request(_shaped(row))


async def _list(pool: Pool, actor: str, *_: object) -> bytes:
    rows = await pool.run("fetch", _LIST.sql, _LIST.arguments(UUID(actor), NEWEST, PAGE + 1))
    return _encode_page({"items": [_shaped(row) for row in rows[:PAGE]], "next_cursor": next_cursor(rows, PAGE)})


async def _complete(pool: Pool, actor: str, request: str, body: bytes) -> bytes:
    sent = from_json(body)
    arguments = _COMPLETE.arguments(
        UUID(actor), UUID(request), UUID(sent["proof_id"]), sent.get("notes"), None, uuid7(), uuid7()
    )
    row = await pool.run("fetchrow", _COMPLETE.sql, arguments)
    return _encode_state({name: row[name] for name in _STATE})


async def _post(
    connection: Any, kind: str, key: str, subject: tuple[str, UUID], actor_id: UUID, lines: Sequence[Posting]
) -> None:
    about = (uuid7(), kind, *subject, key, None, actor_id, None)
    await connection.execute(_POST.sql, *_POST.arguments(*about, *_columns([line.account for line in lines]),
                                                         [line.amount for line in lines]))  # fmt: skip


def _columns(accounts: Sequence[Account]) -> tuple[list[UUID], list[UUID], list[str], list[str]]:
    return (
        [account.id for account in accounts],
        [account.owner_id for account in accounts],
        [account.kind.value for account in accounts],
        [account.currency for account in accounts],
    )


async def _buy_lead(pool: Pool, actor: str, request: str, _: bytes) -> bytes:
    actor_id, lead_id = UUID(actor), uuid7()
    async with pool.transaction() as connection:
        await connection.fetchrow(_LOCK_PROVIDER.sql, *_LOCK_PROVIDER.arguments(actor_id))
        seconds = settings().service_request_expiry_seconds
        arguments = _PURCHASE.arguments(actor_id, UUID(request), None, uuid7(), seconds)
        moved = await connection.fetchrow(_PURCHASE.sql, *arguments)
        fee, currency = moved["fee_minor"], moved["currency"]
        made = (lead_id, UUID(request), actor_id, moved["region_id"], fee, currency)
        lead = await connection.fetchrow(_LEAD.sql, *_LEAD.arguments(*made, actor_id, uuid7()))
        lines = [
            Posting(ledger.wallet(actor_id, currency), -fee),
            Posting(ledger.platform(AccountKind.FEES, currency), fee),
        ]
        await _post(connection, "lead_fee", leads.fee_key(lead_id), ("lead", lead_id), actor_id, lines)
    return _encode_lead({name: lead[name] for name in _LEAD_FIELDS})


async def _buy_order(pool: Pool, actor: str, service: str, body: bytes) -> bytes:
    actor_id, order_id, sent = UUID(actor), uuid7(), from_json(body)
    async with pool.transaction() as connection:
        found = await connection.fetchrow(_SERVICE.sql, *_SERVICE.arguments(UUID(service)))
        assert found["revision"] == sent["revision"]
        price, currency = found["price_minor"], found["currency"]
        frozen = (found["advertiser_id"], found["team_id"], found["title"], price, currency)
        terms = (_COMMISSION_BASIS_POINTS, price * _COMMISSION_BASIS_POINTS // 10_000, None)
        made = (order_id, UUID(service), actor_id, *frozen, *terms)
        limit = settings().work_order_reviewers_notified
        order = await connection.fetchrow(_ORDER.sql, *_ORDER.arguments(*made, actor_id, uuid7(), limit))
        lines = [
            Posting(ledger.wallet(actor_id, currency), -price),
            Posting(ledger.escrow(order_id, currency), price),
        ]
        await _post(connection, "hold", f"hold:{order_id}", ("work_order", order_id), actor_id, lines)
    return _encode_order({name: order[name] for name in _ORDER_STATE})


async def _approve(pool: Pool, actor: str, order: str, _: bytes) -> bytes:
    actor_id, order_id = UUID(actor), UUID(order)
    async with pool.transaction() as connection:
        seconds = settings().evidence_retention_seconds
        arguments = _APPROVE.arguments(actor_id, ["advertiser"], order_id, None, uuid7(), seconds)
        moved = await connection.fetchrow(_APPROVE.sql, *arguments)
        booster_id, currency, earned = moved["booster_id"], moved["currency"], moved["earned_minor"]
        held, paid = ledger.escrow(order_id, currency), ledger.wallet(booster_id, currency)
        kept = ledger.platform(AccountKind.COMMISSION, currency)
        owed = ledger.debt(booster_id, currency)
        locked = _LOCK.arguments(*_columns([held, kept, paid]), [owed.id], -settings().debt_limit_minor)
        balances = {row["id"]: row["balance"] for row in await connection.fetch(_LOCK.sql, *locked)}
        assert owed.id not in balances
        lines = [
            Posting(held, -balances[held.id]),
            Posting(kept, balances[held.id] - earned),
            Posting(paid, earned),
        ]
        await _post(connection, "release", f"settlement:{order_id}", ("work_order", order_id), actor_id, lines)
    return _encode_order({name: moved[name] for name in _ORDER_STATE})


async def _send(pool: Pool, actor: str, conversation: str, body: bytes) -> bytes:
    text = from_json(body)["text"]
    arguments = _SEND.arguments(uuid7(), UUID(conversation), UUID(actor), ["customer"], text, text, [], None)
    row = await pool.run("fetchrow", _SEND.sql, arguments)
    return _encode_message({name: row[name] for name in _MESSAGE} | {"masked": False, "deleted": False})


_ANSWERS: Final[dict[str, Answer]] = {
    "read": _read,
    "list": _list,
    "complete": _complete,
    "buy-lead": _buy_lead,
    "buy-order": _buy_order,
    "approve": _approve,
    "send": _send,
}


class Limit:
    """`/<what>/<actor>/<request>`."""

    def __init__(self) -> None:
        self._pool = Pool()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        body = b"{}"
        if scope["path"] != "/healthz":
            _, what, actor, request = scope["path"].split("/")
            sent = (await receive())["body"] if scope["method"] == "POST" else b""
            body = await _ANSWERS[what](self._pool, actor, request, sent)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await self._pool.open()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        os._exit(0)


def main() -> None:
    """Serve on the inherited socket whose number is the only argument, with the settings of `localbazaar serve`."""
    config = uvicorn.Config(
        Limit(), loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning", server_header=False
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
