"""Sign-up, sign-in, sessions, passwords (identity.md)."""

from uuid import UUID

from fastapi import APIRouter, status

from app.routers.dependencies import Address, Reading, SignedIn, ThePlatform, Writing
from app.routers.problems import documented
from app.schemas.base import Done
from app.schemas.users import (
    ConfirmPasswordReset,
    Login,
    Refresh,
    Register,
    Registered,
    RequestPasswordReset,
    ResendCode,
    SessionInfo,
    Tokens,
    Verify,
)
from app.services.users import accounts, sessions

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])


@router.post("/register", status_code=status.HTTP_201_CREATED, responses=documented(409, 429))
async def register(body: Register, session: Writing, platform: ThePlatform, address: Address) -> Registered:
    """Make an account; two codes go out, one by mail and one by text message."""
    return Registered(user=await accounts.register(session, platform, body, address))


@router.post("/verify", responses=documented(404, 409, 429))
async def verify(body: Verify, session: Writing, platform: ThePlatform, address: Address) -> Tokens:
    """Activate the account with both codes. Five wrong tries burn a code."""
    return await accounts.verify(session, platform, body, address)


@router.post("/codes", status_code=status.HTTP_202_ACCEPTED, responses=documented(429))
async def resend_code(body: ResendCode, session: Writing, platform: ThePlatform, address: Address) -> Done:
    """Have a sign-up code sent again: once a minute and five times an hour."""
    await accounts.resend_code(session, platform, body.user_id, body.channel, address)
    return Done()


@router.post("/login", responses=documented(401, 403, 429))
async def login(body: Login, session: Writing, platform: ThePlatform, address: Address) -> Tokens:
    """Open a session."""
    return await sessions.log_in(session, platform, body, address)


@router.post("/refresh", responses=documented(401))
async def refresh(body: Refresh, session: Writing, platform: ThePlatform) -> Tokens:
    """Exchange the refresh token for a new pair. Each works once; a second use ends the session."""
    return await sessions.rotate(session, platform, body.refresh_token)


@router.post("/logout", responses=documented(401, 404))
async def logout(session: Writing, actor: SignedIn) -> Done:
    """End this session."""
    if actor.session_id is not None:
        await sessions.log_out(session, actor, actor.session_id)
    return Done()


@router.post("/logout-everywhere", responses=documented(401))
async def logout_everywhere(session: Writing, actor: SignedIn) -> Done:
    """End all sessions, this one included."""
    await sessions.end_all(session, actor.user_id, "logged_out_everywhere")
    return Done()


@router.get("/sessions", responses=documented(401))
async def list_sessions(session: Reading, actor: SignedIn) -> list[SessionInfo]:
    """Where the account is signed in."""
    return await sessions.listed(session, actor)


@router.delete("/sessions/{session_id}", responses=documented(401, 404))
async def end_session(session_id: UUID, session: Writing, actor: SignedIn) -> Done:
    """End one of the account's sessions."""
    await sessions.log_out(session, actor, session_id)
    return Done()


@router.post("/password-reset", status_code=status.HTTP_202_ACCEPTED, responses=documented(429))
async def request_password_reset(
    body: RequestPasswordReset, session: Writing, platform: ThePlatform, address: Address
) -> Done:
    """Send a code by mail, if there is such an account; the answer is the same if not."""
    await accounts.request_password_reset(session, platform, body.email, address)
    return Done()


@router.post("/password-reset/confirm", responses=documented(429))
async def confirm_password_reset(
    body: ConfirmPasswordReset, session: Writing, platform: ThePlatform, address: Address
) -> Done:
    """Set a new password with the code; every session ends."""
    await accounts.reset_password(session, platform, body, address)
    return Done()
