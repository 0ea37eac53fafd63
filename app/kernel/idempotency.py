"""Idempotency: the first answer to a key is stored in the transaction of its effect and replayed ever after."""

from hashlib import sha256
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, cast, func, insert, select

from app.core.database import Session, Statement, refuse_violation
from app.core.errors import Conflict, Unprocessable
from app.models.idempotency import idempotency_keys


class RequestInFlight(Conflict):
    code, title = "request_in_flight", "A request with this Idempotency-Key is being worked on."


class KeyReused(Unprocessable):
    code, title = "idempotency_key_reused", "This Idempotency-Key was used for a different request."


class Replay(Exception):
    """Not an error: the stored first answer, to be sent again as it was."""

    def __init__(self, status_code: int, body: bytes) -> None:
        super().__init__("replay")
        self.status_code, self.body = status_code, body


# Two equal requests at once may both have looked before either had stored; the primary key lets one of them commit.
refuse_violation("idempotency_keys_pkey", RequestInFlight)

_LOCK = Statement(
    select(
        func.pg_try_advisory_xact_lock(
            func.hashtextextended(cast(bindparam("user_id", type_=Uuid), Text) + bindparam("key", type_=Text), 0)
        )
    )
)
_FIND = Statement(
    select(idempotency_keys.c.fingerprint, idempotency_keys.c.status_code, idempotency_keys.c.body).where(
        idempotency_keys.c.user_id == bindparam("user_id"), idempotency_keys.c.key == bindparam("key")
    )
)
_STORE = Statement(
    insert(idempotency_keys).values(
        user_id=bindparam("user_id"),
        key=bindparam("key"),
        fingerprint=bindparam("fingerprint"),
        status_code=bindparam("status_code"),
        body=bindparam("body"),
    )
)


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    return sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


async def begin(session: Session, user_id: UUID, key: str, request: bytes) -> None:
    """Raise `Replay` with the first answer, `KeyReused` for another body, `RequestInFlight` while the first runs.

    A transaction-scoped advisory lock keeps the second of two equal requests from starting its work; it is released
    with the first one's commit. The snapshot of `_FIND` is younger than the lock, so it sees what that commit stored.
    """
    if not await session.scalar(_LOCK, user_id=user_id, key=key):
        raise RequestInFlight()
    stored = await session.first(_FIND, user_id=user_id, key=key)
    if stored is None:
        return
    if stored["fingerprint"] != request:
        raise KeyReused()
    raise Replay(stored["status_code"], stored["body"])


async def store(session: Session, user_id: UUID, key: str, request: bytes, status_code: int, body: bytes) -> None:
    """Keep the first answer, in the transaction of the effect: both are durable or neither is."""
    await session.execute(_STORE, user_id=user_id, key=key, fingerprint=request, status_code=status_code, body=body)
