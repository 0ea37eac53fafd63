"""Devices for web push: browsers that somebody has allowed to show what happens (realtime.md: Feed)."""

from base64 import urlsafe_b64decode
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import ColumnElement, Double, and_, bindparam, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.database import ReadSession, Row, Session, Statement
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.ids import uuid7
from app.kernel.locks import lock_account
from app.kernel.platform import Platform
from app.models.notifications import push_devices
from app.models.users import sessions
from app.schemas.notifications import Device, PushKeys, RegisterDevice


class EndpointRefused(Unprocessable):
    code, title = "endpoint_refused", "This is not the address of a push service that is asked from here."


class KeysRefused(Unprocessable):
    code, title = "keys_refused", "These are not the keys of a push subscription."


class TooManyDevices(Conflict):
    code, title = "too_many_devices", "Remove one of your devices first."


_refreshable_seconds: ColumnElement[Any] = bindparam("refreshable_seconds", type_=Double)
lives: Final[ColumnElement[bool]] = and_(
    sessions.c.id == push_devices.c.session_id,
    sessions.c.revoked_at.is_(None),
    sessions.c.last_used_at > func.now() - _refreshable_seconds * literal_column("interval '1 second'"),
)
"""The device's session has not ended, and can still be refreshed: whoever finds a browser that was signed out, or left
alone for a month, reads nothing on it."""

_own = push_devices.c.user_id == bindparam("user_id")
_LIST = Statement(
    select(
        push_devices.c.id,
        push_devices.c.endpoint,
        push_devices.c.created_at,
        (push_devices.c.session_id == bindparam("session_id")).label("current"),
    )
    .join(sessions, lives)
    .where(_own)
    .order_by(push_devices.c.id)
)
_COUNT = Statement(
    select(func.count())
    .select_from(push_devices.join(sessions, lives))
    .where(_own, push_devices.c.endpoint != bindparam("endpoint"))
)
_registered = upsert(push_devices).values(
    {
        name: bindparam(name, type_=push_devices.c[name].type)
        for name in ("id", "user_id", "session_id", "endpoint", "p256dh", "auth")
    }
)
# Whoever registers a browser has it in hand, so from now on it is theirs, whoever had signed in there before.
_REGISTER = Statement(
    _registered.on_conflict_do_update(
        index_elements=["endpoint"],
        set_={name: _registered.excluded[name] for name in ("user_id", "session_id", "p256dh", "auth")}
        | {"refusals": 0, "created_at": func.now()},
    ).returning(push_devices.c.id, push_devices.c.endpoint, push_devices.c.created_at)
)
_REMOVE = Statement(delete(push_devices).where(push_devices.c.id == bindparam("device_id"), _own))


async def register(session: Session, platform: Platform, actor: Actor, wanted: RegisterDevice) -> Device:
    """Have this browser get what happens, for as long as the actor's session lives.

    Raises `EndpointRefused`, `KeysRefused`, `TooManyDevices`.
    """
    if not platform.push.may_ask(wanted.endpoint):
        raise EndpointRefused()
    p256dh, auth = _keys(wanted.keys)
    settings = platform.settings
    await lock_account(session, actor.user_id)
    others = await session.scalar(
        _COUNT,
        user_id=actor.user_id,
        endpoint=wanted.endpoint,
        refreshable_seconds=settings.refresh_token_seconds,
    )
    if others >= settings.push_devices_per_user:
        raise TooManyDevices(limit=settings.push_devices_per_user)
    row = await session.first(
        _REGISTER,
        id=uuid7(),
        user_id=actor.user_id,
        session_id=actor.session_id,
        endpoint=wanted.endpoint,
        p256dh=p256dh,
        auth=auth,
    )
    assert row is not None  # noqa: S101 - an upsert that always writes returns its row
    return _device(dict(row) | {"current": True})


async def listed(session: ReadSession, platform: Platform, actor: Actor) -> list[Device]:
    """The actor's devices, oldest first."""
    rows = await session.all(
        _LIST,
        user_id=actor.user_id,
        session_id=actor.session_id,
        refreshable_seconds=platform.settings.refresh_token_seconds,
    )
    return [_device(row) for row in rows]


async def remove(session: Session, actor: Actor, device_id: UUID) -> None:
    """Forget a device; `NotFound` if it is not the actor's."""
    if not await session.execute(_REMOVE, device_id=device_id, user_id=actor.user_id):
        raise NotFound()


def _device(row: Row) -> Device:
    # The rest of the address is what lets somebody send to it.
    host = urlsplit(row["endpoint"]).netloc
    return Device(id=row["id"], service=host, created_at=row["created_at"], current=row["current"])


def _keys(given: PushKeys) -> tuple[bytes, bytes]:
    """The keys' bytes; `KeysRefused` for a point that is not on the curve."""
    p256dh, auth = (urlsafe_b64decode(key.rstrip("=") + "==") for key in (given.p256dh, given.auth))
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    except ValueError as error:
        raise KeysRefused() from error
    if len(p256dh) != 65 or len(auth) != 16:
        raise KeysRefused()
    return p256dh, auth
