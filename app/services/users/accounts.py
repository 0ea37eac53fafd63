"""Accounts: sign-up with two codes, profile, password, change of contact (identity.md: Sign-up, Sessions)."""

from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import bindparam, func, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.database import Session, Statement, refuse_violation
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.ids import uuid7
from app.core.limits import origin
from app.core.valkey import SESSIONS
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.models.users import Role, UserStatus, user_roles, users
from app.schemas.users import (
    ChangeContact,
    ConfirmContact,
    ConfirmPasswordReset,
    Email,
    Phone,
    Register,
    Tokens,
    UpdateProfile,
    User,
    UserState,
    Verify,
)
from app.services.users import codes, queries, sessions
from app.services.users.codes import Channel, CodeRefused, Purpose
from app.services.users.events import CodeRequested, PasswordChanged
from app.services.users.lifecycle import LIFECYCLE, Action


class AlreadyTaken(Conflict):
    code, title = "already_taken", "An account with this contact exists."


refuse_violation("users_email_key", lambda: AlreadyTaken(field="email"))
refuse_violation("users_phone_key", lambda: AlreadyTaken(field="phone"))

_UPDATE = Statement(
    update(users)
    .where(users.c.id == bindparam("user_id"))
    .values(
        name=func.coalesce(bindparam("name", type_=users.c.name.type), users.c.name),
        language=func.coalesce(bindparam("language", type_=users.c.language.type), users.c.language),
        updated_at=func.now(),
    )
)
_SET_PASSWORD = Statement(
    update(users)
    .where(users.c.id == bindparam("user_id"), users.c.status == UserStatus.ACTIVE.value)
    .values(password_hash=bindparam("password_hash"), updated_at=func.now())
)
_SET_CONTACT = {
    "email": Statement(
        update(users).where(users.c.id == bindparam("user_id")).values(email=bindparam("value"), updated_at=func.now())
    ),
    "phone": Statement(
        update(users).where(users.c.id == bindparam("user_id")).values(phone=bindparam("value"), updated_at=func.now())
    ),
}
_GRANT = Statement(
    upsert(user_roles).values(user_id=bindparam("user_id"), role=bindparam("role")).on_conflict_do_nothing()
)
_CONTACTS: dict[Channel, TypeAdapter[str]] = {"email": TypeAdapter(Email), "phone": TypeAdapter(Phone)}


async def register(session: Session, platform: Platform, wanted: Register, address: str) -> User:
    """A new account, `PENDING_VERIFICATION`; its event sends the two codes. `AlreadyTaken` names the field."""
    await platform.limits.hit(platform.settings.sign_ups_per_address, "sign-up", origin(address))
    password_hash = await platform.passwords.hash(wanted.password)  # before the first statement takes a connection
    user_id = await _create(session, wanted, password_hash)
    return await queries.user(session, user_id)


async def create_verified(session: Session, wanted: Register, password_hash: str) -> UUID:
    """An account whose owner is known by other means: the demo's people, and the first admin. No codes are sent."""
    user_id = await _create(session, wanted, password_hash)
    await LIFECYCLE.advance(session, user_id, Action.VERIFY, Actor(user_id))
    return user_id


async def _create(session: Session, wanted: Register, password_hash: str) -> UUID:
    user_id = uuid7()
    await LIFECYCLE.create(
        session,
        Actor(user_id),
        {
            "id": user_id,
            "name": wanted.name,
            "email": wanted.email,
            "phone": wanted.phone,
            "password_hash": password_hash,
            "language": wanted.language.value,
            "requested_role": wanted.role,
        },
    )
    return user_id


async def verify(session: Session, platform: Platform, given: Verify, address: str) -> Tokens:
    """Activate the account for both codes and open its first session; `CodeRefused` otherwise, for unknown ids too."""
    await platform.limits.hit(platform.settings.login_tries_per_address, "verify-address", origin(address))
    await codes.spend(platform, given.user_id, "verify", {"email": given.email_code, "phone": given.phone_code})
    await LIFECYCLE.advance(session, given.user_id, Action.VERIFY, Actor(given.user_id))
    return await sessions.open_session(session, platform, given.user_id, device=given.device, address=address)


async def _request_code(session: Session, user_id: UUID, channel: Channel, purpose: Purpose) -> None:
    """Have a code sent; the job queue retries a sender that fails. The caller has asked whether the limits allow it."""
    event = CodeRequested(user_id=user_id, channel=channel, purpose=purpose)
    await emit(session, event, subject_type="user", subject_id=user_id, to=[])


async def resend_code(session: Session, platform: Platform, user_id: UUID, channel: Channel, address: str) -> None:
    """Another sign-up code. An unknown or active account is answered alike and gets none."""
    await platform.limits.hit(platform.settings.login_tries_per_address, "code-address", origin(address))
    await codes.allow_sending(platform, user_id, channel)
    try:
        user = await queries.user(session, user_id)
    except NotFound:
        return
    if user.status is UserStatus.PENDING_VERIFICATION:
        await _request_code(session, user_id, channel, "verify")


async def request_password_reset(session: Session, platform: Platform, email: str, address: str) -> None:
    """Send a code to the address if it belongs to an account; neither the answer nor its time tells."""
    await platform.limits.hit(platform.settings.login_tries_per_address, "reset-address", origin(address))
    await codes.allow_sending(platform, email, "email")
    user_id = await queries.id_by_email(session, email)
    # Without such an account a code is asked for nobody: the same writes and the same commit, and nothing is sent.
    await _request_code(session, user_id or uuid7(), "email", "reset")


async def reset_password(session: Session, platform: Platform, given: ConfirmPasswordReset, address: str) -> None:
    """Set a new password for the code and end every session."""
    await platform.limits.hit(platform.settings.login_tries_per_address, "reset-address", origin(address))
    async with platform.database.read() as reading:  # given back before the hash, which takes its time
        user_id = await queries.id_by_email(reading, given.email)
    if user_id is None:
        user_id = uuid7()  # nobody's: it has no code, and to find that out takes as long
    (sent_to,) = await codes.spend(platform, user_id, "reset", {"email": given.code})
    if sent_to != given.email:  # the account's address changed since; who reads the old one may not have the account
        raise CodeRefused()
    password_hash = await platform.passwords.hash(given.password)
    if not await session.execute(_SET_PASSWORD, user_id=user_id, password_hash=password_hash):
        raise CodeRefused()
    await sessions.end_all(session, user_id, "password_reset")
    changed = PasswordChanged(user_id=user_id)
    await emit(session, changed, subject_type="user", subject_id=user_id, to=[user_id])


async def change_contact(session: Session, platform: Platform, actor: Actor, wanted: ChangeContact) -> None:
    """Send a code to the new address; it takes effect when the code comes back."""
    try:
        value = _CONTACTS[wanted.channel].validate_python(wanted.value)
    except ValidationError as error:
        raise Unprocessable(f"This is not a valid {wanted.channel}.") from error
    await codes.allow_sending(platform, actor.user_id, wanted.channel)
    await codes.remember_change(platform, actor.user_id, wanted.channel, value)
    await _request_code(session, actor.user_id, wanted.channel, "change")


async def confirm_contact(session: Session, platform: Platform, actor: Actor, given: ConfirmContact) -> User:
    """Put the new address in force and end every other session."""
    (value,) = await codes.spend(platform, actor.user_id, "change", {given.channel: given.code})
    await session.execute(_SET_CONTACT[given.channel], user_id=actor.user_id, value=value)
    await sessions.end_all(session, actor.user_id, "contact_changed", kept=actor.session_id)
    return await queries.user(session, actor.user_id)


async def update_profile(session: Session, actor: Actor, wanted: UpdateProfile) -> User:
    session.tell(SESSIONS, [actor.user_id])  # sessions know the language
    await session.execute(_UPDATE, user_id=actor.user_id, name=wanted.name, language=wanted.language)
    return await queries.user(session, actor.user_id)


async def decide(session: Session, actor: Actor, user_id: UUID, action: Action, reason: str | None = None) -> UserState:
    """Suspend, reinstate or ban an account. Its sessions end with it; the edge hints so to every process."""
    recorded = {"status_reason": reason} if reason is not None else {}
    row = await LIFECYCLE.advance(session, user_id, action, actor, reason=reason, **recorded)
    if action is not Action.REINSTATE:
        await sessions.end_all(session, user_id, action)
    return UserState.model_validate(dict(row))


async def grant(session: Session, user_id: UUID, role: Role) -> None:
    """Give an account a role that it may hold already; its sessions know it from the next request on."""
    session.tell(SESSIONS, [user_id])
    await session.execute(_GRANT, user_id=user_id, role=role.value)
