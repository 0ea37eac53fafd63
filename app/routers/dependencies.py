"""What routes ask for by type: who acts, a session, and the once-only promise of an `Idempotency-Key`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from pydantic import BaseModel

from app.core.actor import Actor
from app.core.database import ReadSession, Session, SingleStatementSession
from app.core.errors import RoleRequired, Unauthenticated
from app.kernel import idempotency
from app.kernel.platform import Platform
from app.schemas.api_keys import Scope
from app.schemas.users import Role
from app.services.api_keys.checking import LiveKey
from app.services.api_keys.keys import MARK

_SCHEME = "bearer "


class _Scheme(SecurityBase):
    """Documents a scheme and, called, checks the token, in one dependency: each one costs every request a little."""

    def __init__(self, name: str, description: str) -> None:
        self.scheme_name = name
        self.model = HTTPBearer(description=description)


class _Bearer(_Scheme):
    """A signed-in user."""

    def __init__(self) -> None:
        super().__init__("bearer", "The access token of `/auth/login`.")

    async def __call__(self, request: Request) -> Actor:
        token = bearer_token(request)
        if token is None:
            raise Unauthenticated()
        actor: Actor = await request.app.state.sessions.actor(token)
        return actor


class _TakesApiKeys(_Scheme):
    """Only routes that ask for one take API keys: to the others it is a token like any other that is not valid."""

    def __init__(self, *scopes: Scope) -> None:
        super().__init__("api_key", "An API key, `lb_…`.")
        self._scopes = scopes

    async def live_key(self, request: Request, response: Response, given: str | None) -> LiveKey:
        """The key, counted against its allowance; the answer tells what is left of it."""
        if given is None or not given.startswith(MARK):
            raise Unauthenticated("This needs an API key.")
        key: LiveKey = await request.app.state.api_keys.key(given)
        limits, allowance = _platform(request).limits, _platform(request).settings.api_key_requests
        await limits.hit(allowance, "api-key", str(key.id))
        left = await limits.left(allowance, "api-key", str(key.id))
        response.headers["RateLimit-Limit"] = str(left.limit)
        response.headers["RateLimit-Remaining"] = str(left.remaining)
        response.headers["RateLimit-Reset"] = str(left.reset_seconds)
        key.require(*self._scopes)
        return key


class _ApiKey(_TakesApiKeys):
    """An API key that holds one of these scopes."""

    async def __call__(self, request: Request, response: Response) -> LiveKey:
        return await self.live_key(request, response, bearer_token(request))


class _BearerOrApiKey(_TakesApiKeys):
    """A signed-in user, or an API key that holds one of these scopes: then the actor is its owner, without roles."""

    async def __call__(self, request: Request, response: Response) -> Actor:
        given = bearer_token(request)
        if given is not None and given.startswith(MARK):
            return (await self.live_key(request, response, given)).actor
        if given is None:
            raise Unauthenticated()
        actor: Actor = await request.app.state.sessions.actor(given)
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


SignedIn = Annotated[Actor, Depends(_Bearer())]
EventReader = Annotated[LiveKey, Depends(_ApiKey(Scope.EVENTS_READ, Scope.EVENTS_READ_ALL))]
WebhookManager = Annotated[Actor, Depends(_BearerOrApiKey(Scope.WEBHOOKS_MANAGE))]
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
