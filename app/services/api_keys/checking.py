"""Whether an API key still counts, and what it opens: asked with every request that carries one."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import ARRAY, Double, Uuid, any_, bindparam, func, literal_column, or_, select, update

from app.core.actor import Actor
from app.core.database import Statement
from app.core.errors import Forbidden, Problem, Unauthenticated
from app.core.security import digest
from app.kernel.platform import Platform
from app.kernel.remembered import Remembered
from app.models.api_keys import Scope, api_keys
from app.models.users import Role, UserStatus, user_roles, users

_log = structlog.get_logger()


class ScopeRequired(Forbidden):
    code, title = "scope_required", "This API key does not hold the scope that this needs."


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key that counts. Its actor holds no roles: what a role opens, a key does not."""

    id: UUID
    actor: Actor
    scopes: frozenset[str]

    def require(self, *scopes: Scope) -> None:
        """`ScopeRequired` unless the key holds one of them."""
        if self.scopes.isdisjoint(scopes):
            raise ScopeRequired(scopes=sorted(scopes))


# The rule, said once: a key lives while it is neither revoked nor expired and its account may act.
_LIVE: Final = Statement(
    select(
        api_keys.c.id,
        api_keys.c.user_id,
        api_keys.c.scopes,
        users.c.language,
        select(user_roles.c.user_id)
        .where(user_roles.c.user_id == users.c.id, user_roles.c.role == Role.ADMIN.value)
        .exists()
        .label("is_admin"),
    )
    .join(users, users.c.id == api_keys.c.user_id)
    .where(
        api_keys.c.key_hash == bindparam("key_hash"),
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
        users.c.status == UserStatus.ACTIVE.value,
    )
)
_last_noted = func.now() - bindparam("seconds", type_=Double) * literal_column("interval '1 second'")
_USED: Final = Statement(
    update(api_keys)
    .where(
        api_keys.c.id == any_(bindparam("key_ids", type_=ARRAY(Uuid))),
        or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < _last_noted),
    )
    .values(last_used_at=func.now())
)


class LiveKeys(Remembered[bytes, LiveKey]):
    """Keys that this process has verified lately. They are looked up by their hash: no secret is compared in steps."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._used: set[UUID] = set()

    async def key(self, given: str) -> LiveKey:
        """The key, or `Unauthenticated`."""
        key_hash = digest(given)
        known = self.get(key_hash) or await self._look_up(key_hash)
        if known is None:
            raise Unauthenticated("The API key is not valid.")
        self._used.add(known.id)
        return known

    async def _look_up(self, key_hash: bytes) -> LiveKey | None:
        trusted_until = self.trusted_until()
        async with self._platform.database.read() as session:
            row = await session.first(_LIVE, key_hash=key_hash)
        if row is None:
            return None
        # An admin's right to see everything ends with the role, not with the key.
        withheld = frozenset() if row["is_admin"] else frozenset({Scope.EVENTS_READ_ALL.value})
        actor = Actor(row["user_id"], language=row["language"])
        known = LiveKey(row["id"], actor, frozenset(row["scopes"]) - withheld)
        self.keep(key_hash, row["user_id"], known, trusted_until)
        return known

    async def note_uses(self) -> None:
        """Store which keys were used since the last time, all in one statement."""
        used, self._used = self._used, set()
        if used:
            async with self._platform.database.write_single() as session:
                await session.execute(
                    _USED, key_ids=sorted(used), seconds=self._platform.settings.api_key_use_seconds / 2
                )

    async def keep_noting_uses(self) -> None:
        """For as long as the process lives, aside from the requests: none waits for it."""
        while True:
            await asyncio.sleep(self._platform.settings.api_key_use_seconds)
            try:
                await self.note_uses()
            except Problem as problem:
                _log.warning("key_uses_lost", code=problem.code)
