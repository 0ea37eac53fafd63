"""Making, listing and revoking the own API keys (identity.md: Access)."""

import secrets
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, insert, or_, select, update

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.errors import Conflict, NotFound, RoleRequired, Unprocessable
from app.core.ids import uuid7
from app.core.security import digest, opaque_token
from app.core.valkey import SESSIONS
from app.kernel.events import emit
from app.kernel.locks import lock_account
from app.kernel.platform import Platform
from app.models.api_keys import Scope, api_keys
from app.models.users import Role
from app.schemas.api_keys import ApiKey, MakeApiKey, NewApiKey
from app.services.api_keys.events import ApiKeyCreated

MARK: Final = "lb_"
"""What every key begins with; no access token does."""


class TooManyApiKeys(Conflict):
    code, title = "too_many_api_keys", "The account has as many API keys as it may have; revoke one."


class ExpiryPassed(Unprocessable):
    code, title = "expiry_passed", "The key would have expired already."


_lives = (
    api_keys.c.user_id == bindparam("user_id", type_=Uuid),
    api_keys.c.revoked_at.is_(None),
    or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
)
_COUNT: Final = Statement(select(func.count()).select_from(api_keys).where(*_lives))
_MAKE: Final = Statement(
    insert(api_keys)
    .values({name: bindparam(name) for name in ("id", "user_id", "name", "prefix", "key_hash", "scopes", "expires_at")})
    .returning(api_keys)
)
_LIST: Final = Statement(select(api_keys).where(*_lives).order_by(api_keys.c.id.desc()))
_REVOKE: Final = Statement(
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("key_id"),
        api_keys.c.user_id == bindparam("user_id"),
        api_keys.c.revoked_at.is_(None),
    )
    .values(revoked_at=func.now())
)


async def make(session: Session, platform: Platform, actor: Actor, wanted: MakeApiKey) -> NewApiKey:
    """A new key for the own account, shown this once. The account's lock makes two calls at once count each other."""
    settings = platform.settings
    if Scope.EVENTS_READ_ALL in wanted.scopes and Role.ADMIN not in actor.roles:
        raise RoleRequired(roles=[Role.ADMIN])
    if wanted.expires_at is not None and wanted.expires_at <= datetime.now(UTC):
        raise ExpiryPassed()
    await platform.limits.hit(settings.api_keys_made, "api-keys", str(actor.user_id))
    await lock_account(session, actor.user_id)
    if await session.scalar(_COUNT, user_id=actor.user_id) >= settings.api_keys_per_user:
        raise TooManyApiKeys(limit=settings.api_keys_per_user)
    prefix = f"{MARK}{secrets.token_hex(4)}"
    key = f"{prefix}_{opaque_token()}"
    row = await session.first(
        _MAKE,
        id=uuid7(),
        user_id=actor.user_id,
        name=wanted.name,
        prefix=prefix,
        key_hash=digest(key),
        scopes=sorted(wanted.scopes),
        expires_at=wanted.expires_at,
    )
    assert row is not None  # noqa: S101 - an INSERT without conflict clause returns its row
    event = ApiKeyCreated(api_key_id=row["id"], key_name=wanted.name, key_prefix=prefix)
    await emit(session, event, subject_type="api_key", subject_id=row["id"], to=[actor.user_id])
    return NewApiKey.model_validate(dict(row) | {"key": key})


async def listed(session: ReadSession, actor: Actor) -> list[ApiKey]:
    """The own keys that live, newest first."""
    return [ApiKey.model_validate(dict(row)) for row in await session.all(_LIST, user_id=actor.user_id)]


async def revoke(session: Session, actor: Actor, key_id: UUID) -> None:
    """End a key of the own account, on every process; `NotFound` if it is not theirs or has ended."""
    if not await session.execute(_REVOKE, key_id=key_id, user_id=actor.user_id):
        raise NotFound()
    session.tell(SESSIONS, [actor.user_id])
