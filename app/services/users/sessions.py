"""Sessions: log in, rotate, log out, and the check that every request passes (identity.md: Sessions)."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, and_, any_, bindparam, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import INTERVAL

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.errors import Forbidden, NotFound, Unauthenticated
from app.core.ids import uuid7
from app.core.limits import origin
from app.core.security import digest, opaque_token
from app.core.valkey import SESSIONS
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.kernel.remembered import Remembered
from app.models.users import UserStatus, refresh_tokens, sessions, user_roles, users
from app.schemas.users import Login, SessionInfo, Tokens, User
from app.services.users import queries
from app.services.users.events import TokenReused


class WrongCredentials(Unauthenticated):
    """The same words for a wrong password and for an unknown address."""

    code, title = "wrong_credentials", "Email and password do not fit together."


class VerificationPending(Forbidden):
    code, title = "verification_pending", "Enter the two codes first."


class AccountSuspended(Forbidden):
    code, title = "account_suspended", "This account is suspended."


_lifetime = func.now() + bindparam("lifetime", type_=INTERVAL)

_OPEN = Statement(
    insert(refresh_tokens)
    .values(
        token_hash=bindparam("token_hash"),
        session_id=bindparam("id"),
        expires_at=_lifetime,
    )
    .add_cte(
        insert(sessions)
        .values(
            id=bindparam("id"),
            user_id=bindparam("user_id"),
            device=bindparam("device"),
            address=bindparam("address"),
        )
        .cte("opened")
    )
)
# The compare-and-set on `spent_at` lets one of two equal refreshes through; the other is a reuse.
_spent = (
    update(refresh_tokens)
    .where(
        refresh_tokens.c.token_hash == bindparam("token_hash"),
        refresh_tokens.c.spent_at.is_(None),
        refresh_tokens.c.expires_at > func.now(),
        refresh_tokens.c.session_id == sessions.c.id,
        sessions.c.revoked_at.is_(None),
        sessions.c.user_id == users.c.id,
        users.c.status == UserStatus.ACTIVE.value,
    )
    .values(spent_at=func.now())
    .returning(refresh_tokens.c.session_id, sessions.c.user_id)
    .cte("spent")
)
_used = update(sessions).where(sessions.c.id == _spent.c.session_id).values(last_used_at=func.now()).cte("used")
_ROTATE = Statement(
    insert(refresh_tokens)
    .from_select(
        ["token_hash", "session_id", "expires_at"],
        select(bindparam("new_hash", type_=refresh_tokens.c.token_hash.type), _spent.c.session_id, _lifetime),
    )
    .add_cte(_used)
    .returning(refresh_tokens.c.session_id, select(_spent.c.user_id).scalar_subquery().label("user_id"))
)
_WHOSE = Statement(
    select(sessions.c.id, sessions.c.user_id, sessions.c.revoked_at, refresh_tokens.c.spent_at)
    .join(sessions, sessions.c.id == refresh_tokens.c.session_id)
    .where(refresh_tokens.c.token_hash == bindparam("token_hash"))
)
_REVOKE = Statement(
    update(sessions)
    .where(
        sessions.c.id == bindparam("session_id"),
        sessions.c.user_id == bindparam("user_id"),
        sessions.c.revoked_at.is_(None),
    )
    .values(revoked_at=func.now(), revoked_reason=bindparam("revoked_reason"))
)
_REVOKE_ALL = Statement(
    update(sessions)
    .where(
        sessions.c.user_id == bindparam("user_id"),
        sessions.c.revoked_at.is_(None),
        sessions.c.id.is_distinct_from(bindparam("kept", type_=sessions.c.id.type)),
    )
    .values(revoked_at=func.now(), revoked_reason=bindparam("revoked_reason"))
)
_LIST = Statement(
    select(
        sessions.c.id,
        sessions.c.device,
        sessions.c.address,
        sessions.c.created_at,
        sessions.c.last_used_at,
        (sessions.c.id == bindparam("current")).label("current"),
    )
    .where(
        sessions.c.user_id == bindparam("user_id"),
        sessions.c.revoked_at.is_(None),
        exists().where(
            refresh_tokens.c.session_id == sessions.c.id,
            refresh_tokens.c.spent_at.is_(None),
            refresh_tokens.c.expires_at > func.now(),
        ),
    )
    .order_by(sessions.c.last_used_at.desc())
    .limit(100)
)
# The rule, said once: a session lives while it is not revoked and its account may act.
_lives = and_(sessions.c.revoked_at.is_(None), users.c.status == UserStatus.ACTIVE.value)
_LIVE = Statement(
    select(
        users.c.language,
        func.array(select(user_roles.c.role).where(user_roles.c.user_id == users.c.id).scalar_subquery()).label(
            "roles"
        ),
    )
    .join(sessions, sessions.c.user_id == users.c.id)
    .where(
        sessions.c.id == bindparam("session_id"),
        users.c.id == bindparam("user_id"),
        _lives,
    )
)
_LIVING = Statement(
    select(sessions.c.id)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == any_(bindparam("session_ids", type_=ARRAY(Uuid))), _lives)
)
_CREDENTIALS = Statement(
    select(users.c.id, users.c.password_hash, users.c.status).where(users.c.email == bindparam("email"))
)
_same_credentials = (
    users.c.id == bindparam("user_id"),
    users.c.password_hash == bindparam("verified_hash"),
    users.c.status == UserStatus.ACTIVE.value,
)
# A password reset or a suspension that commits while the hash was computed ends the sessions that it finds. Held until
# the commit, this lock makes it find the new one; and what it changed before, this statement finds.
_STILL_FIT = Statement(select(users.c.id).where(*_same_credentials).with_for_update(read=True))
_REHASH = Statement(
    update(users).where(*_same_credentials).values(password_hash=bindparam("password_hash")).returning(users.c.id)
)


async def log_in(session: Session, platform: Platform, login: Login, address: str) -> Tokens:
    """Open a session; `WrongCredentials` for whatever does not fit, in the same time, and limited."""
    settings = platform.settings
    await platform.limits.hit(settings.login_tries_per_address, "login-address", origin(address))
    await platform.limits.hit(settings.login_tries_per_account, "login-account", login.email)
    async with platform.database.read() as reading:  # given back before the hash, which takes its time
        account = await reading.first(_CREDENTIALS, email=login.email)
    password_hash = account["password_hash"] if account else None
    if not await platform.passwords.verify(login.password, password_hash) or account is None:
        raise WrongCredentials()
    match UserStatus(account["status"]):
        case UserStatus.PENDING_VERIFICATION:
            raise VerificationPending(user_id=str(account["id"]))
        case UserStatus.SUSPENDED | UserStatus.BANNED:
            raise AccountSuspended()
        case UserStatus.ACTIVE:
            pass
    verified = {"user_id": account["id"], "verified_hash": account["password_hash"]}
    if platform.passwords.is_outdated(account["password_hash"]):
        renewed = await platform.passwords.hash(login.password)
        still_fit = await session.scalar(_REHASH, **verified, password_hash=renewed)
    else:
        still_fit = await session.scalar(_STILL_FIT, **verified)
    if still_fit is None:
        raise WrongCredentials()
    return await open_session(session, platform, account["id"], device=login.device, address=address)


async def open_session(session: Session, platform: Platform, user_id: UUID, *, device: str, address: str) -> Tokens:
    """A new session with its first pair of tokens. The caller has made sure of who it is."""
    refresh_token, session_id = opaque_token(), uuid7()
    await session.execute(
        _OPEN,
        id=session_id,
        user_id=user_id,
        device=device,
        address=address,
        token_hash=digest(refresh_token),
        lifetime=timedelta(seconds=platform.settings.refresh_token_seconds),
    )
    user = await queries.user(session, user_id)
    return _tokens(platform, user, session_id, refresh_token)


async def rotate(session: Session, platform: Platform, refresh_token: str) -> Tokens:
    """Spend a refresh token for a new pair. A token that was spent before ends its whole session and tells the user."""
    renewed = opaque_token()
    row = await session.first(
        _ROTATE,
        token_hash=digest(refresh_token),
        new_hash=digest(renewed),
        lifetime=timedelta(seconds=platform.settings.refresh_token_seconds),
    )
    if row is None:
        await session.close()  # nobody may hold one connection while waiting for another
        await _end_if_reused(platform, refresh_token)
        raise Unauthenticated("The refresh token is not valid any more.")
    user = await queries.user(session, row["user_id"])
    return _tokens(platform, user, row["session_id"], renewed)


async def _end_if_reused(platform: Platform, refresh_token: str) -> None:
    """In a transaction of its own: the refusal that follows rolls the caller's back, and this must stand."""
    async with platform.database.write() as session:
        owner = await session.first(_WHOSE, token_hash=digest(refresh_token))
        if owner is None or owner["spent_at"] is None or owner["revoked_at"] is not None:
            return
        user_id, session_id = owner["user_id"], owner["id"]
        if await session.execute(_REVOKE, session_id=session_id, user_id=user_id, revoked_reason="token_reused"):
            reused = TokenReused(user_id=user_id, session_id=session_id)
            await emit(session, reused, subject_type="user", subject_id=user_id, to=[user_id])
            session.tell(SESSIONS, [user_id])


def _tokens(platform: Platform, user: User, session_id: UUID, refresh_token: str) -> Tokens:
    return Tokens(
        access_token=platform.tokens.issue(user.id, session_id, [role.value for role in user.roles]),
        refresh_token=refresh_token,
        expires_in=int(platform.settings.access_token_seconds),
        user=user,
    )


async def log_out(session: Session, actor: Actor, session_id: UUID) -> None:
    """End one of the actor's own sessions; `NotFound` if it is not theirs or has ended."""
    if not await session.execute(_REVOKE, session_id=session_id, user_id=actor.user_id, revoked_reason="logged_out"):
        raise NotFound()
    session.tell(SESSIONS, [actor.user_id])


async def end_all(session: Session, user_id: UUID, reason: str, *, kept: UUID | None = None) -> int:
    """End every session of a user, except one; how many that were."""
    session.tell(SESSIONS, [user_id])
    return await session.execute(_REVOKE_ALL, user_id=user_id, revoked_reason=reason, kept=kept)


async def listed(session: ReadSession, actor: Actor) -> list[SessionInfo]:
    rows = await session.all(_LIST, user_id=actor.user_id, current=actor.session_id)
    return [SessionInfo.model_validate(dict(row)) for row in rows]


async def living_sessions(session: ReadSession, session_ids: list[UUID]) -> set[UUID]:
    """Those of these sessions that have not ended."""
    return {row["id"] for row in await session.all(_LIVING, session_ids=session_ids)}


class LiveSessions(Remembered[UUID, Actor]):
    """Sessions that this process has verified lately: a suspended or logged-out user is refused at once."""

    async def actor(self, token: str) -> Actor:
        """Who the access token speaks for, or `Unauthenticated`."""
        user_id, session_id = self._platform.tokens.verify(token)
        known = self.get(session_id)
        if known is not None and known.id == user_id:
            return known
        actor = await self.look_up(user_id, session_id)
        if actor is None:
            raise Unauthenticated("The session has ended.")
        return actor

    async def look_up(self, user_id: UUID, session_id: UUID) -> Actor | None:
        """The user as the database knows them now, or None if the session has ended; remembered for a moment."""
        trusted_until = self.trusted_until()
        async with self._platform.database.read() as session:
            row = await session.first(_LIVE, session_id=session_id, user_id=user_id)
        if row is None:
            self.forget({user_id})
            return None
        actor = Actor(user_id, frozenset(row["roles"]), session_id, row["language"])
        self.keep(session_id, user_id, actor, trusted_until)
        return actor
