"""What routes ask for by type: who acts, a session, and the once-only promise of an `Idempotency-Key`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from app.core.actor import Actor
from app.core.database import ReadSession, Session, SingleStatementSession
from app.core.errors import RoleRequired, Unauthenticated
from app.kernel import idempotency
from app.kernel.platform import Platform
from app.schemas.users import Role

_SCHEME = "bearer "


class _Bearer(HTTPBearer):
    """Documents the scheme, and checks the token, in one dependency: each one costs every request a little."""

    async def __call__(self, request: Request) -> Actor:  # type: ignore[override]  # a verified actor, not the raw token
        token = bearer_token(request)
        if token is None:
            raise Unauthenticated()
        actor: Actor = await request.app.state.sessions.actor(token)
        return actor


def bearer_token(request: Request) -> str | None:
    """The access token of the request's header, unverified; None without one."""
    header = request.headers.get("authorization")
    return header[7:] if header is not None and header[:7].lower() == _SCHEME else None


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


async def _get_platform(request: Request) -> Platform:
    return _platform(request)


def _holding(*roles: Role) -> Callable[..., Awaitable[Actor]]:
    async def holder(actor: "SignedIn") -> Actor:
        if actor.roles.isdisjoint(roles):
            raise RoleRequired(roles=sorted(roles))
        return actor

    return holder


async def _read(request: Request) -> ReadSession:
    return ReadSession(_platform(request).database)


async def _write(request: Request) -> AsyncIterator[Session]:
    async with _platform(request).database.write() as session:
        yield session


async def _write_single(request: Request) -> Session:
    return SingleStatementSession(_platform(request).database)


async def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


Result = TypeVar("Result", bound=BaseModel)
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Names this request; sent again with the same key and body, it answers the same and does nothing.",
    ),
]


class Once:
    """Runs an effect once for each key; without a key, each time."""

    def __init__(self, request: Request, session: Session, actor: Actor, key: str | None) -> None:
        self._request, self._session, self._actor, self._key = request, session, actor, key

    async def __call__(self, effect: Callable[[], Awaitable[Result]], *, status_code: int = 201) -> Result:
        """The effect's result; its bytes are stored in its own transaction. See `kernel/idempotency.py`."""
        if self._key is None:
            return await effect()
        asked = idempotency.fingerprint(self._request.method, self._request.url.path, await self._request.body())
        await idempotency.begin(self._session, self._actor.user_id, self._key, asked)
        result = await effect()
        body = result.__pydantic_serializer__.to_json(result, by_alias=True)
        await idempotency.store(self._session, self._actor.user_id, self._key, asked, status_code, body)
        return result


SignedIn = Annotated[
    Actor, Depends(_Bearer(scheme_name="bearer", description="The access token of `/auth/login`.", auto_error=False))
]
Provider = Annotated[Actor, Depends(_holding(Role.PROVIDER))]
Advertiser = Annotated[Actor, Depends(_holding(Role.ADVERTISER))]
Admin = Annotated[Actor, Depends(_holding(Role.ADMIN))]
Reviewer = Annotated[Actor, Depends(_holding(Role.MANAGER, Role.ADMIN))]
SupportOrAdmin = Annotated[Actor, Depends(_holding(Role.SUPPORT, Role.ADMIN))]
Staff = Annotated[Actor, Depends(_holding(Role.SUPPORT, Role.MANAGER, Role.ADMIN))]
ThePlatform = Annotated[Platform, Depends(_get_platform)]
# scope="function": the transaction is committed after the answer is serialised and before its first byte is sent.
Reading = Annotated[ReadSession, Depends(_read)]
Writing = Annotated[Session, Depends(_write, scope="function")]
WritingOnce = Annotated[Session, Depends(_write_single)]
Address = Annotated[str, Depends(_address)]


async def _once(request: Request, session: Writing, actor: SignedIn, key: Key = None) -> Once:
    return Once(request, session, actor, key)


OnlyOnce = Annotated[Once, Depends(_once)]
