"""Reports about messages, and what staff decide (realtime.md: Chat)."""

from functools import cache
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, select

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement, refuse_violation
from app.core.errors import Conflict, NotFound
from app.core.ids import uuid7
from app.core.pagination import decode, newest
from app.kernel.lifecycle import ACTOR
from app.kernel.platform import Platform
from app.models.chats import conversations, message_reports, messages
from app.schemas.base import Page, page_of
from app.schemas.chats import MessageReport, ReportedMessage, ReportMessage, ReportsPage
from app.services.chats import access, reading
from app.services.chats.lifecycle import LIFECYCLE, Action


class AlreadyReported(Conflict):
    code, title = "already_reported", "You have reported this message; somebody will look at it."


refuse_violation("message_reports_once", AlreadyReported)

_message_id = bindparam("message_id", type_=Uuid)


@cache
def _reported() -> Statement:
    return Statement(
        select(messages.c.conversation_id, conversations.c.region_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(
            messages.c.id == _message_id,
            messages.c.sender_id != ACTOR,
            messages.c.deleted_at.is_(None),
            access.is_party(),
        )
    )


async def report(
    session: Session, platform: Platform, actor: Actor, message_id: UUID, wanted: ReportMessage
) -> MessageReport:
    """A party reports what another has written. Raises `NotFound`, `AlreadyReported`, `TooManyRequests`."""
    await platform.limits.hit(platform.settings.message_reports_per_user, "message_report", str(actor.user_id))
    found = await session.first(_reported(), message_id=message_id, actor_id=actor.id)
    if found is None:
        raise NotFound()
    row = await LIFECYCLE.create(
        session,
        actor,
        {
            "id": uuid7(),
            "message_id": message_id,
            "conversation_id": found["conversation_id"],
            "region_id": found["region_id"],
            "reporter_id": actor.user_id,
            "reason": wanted.reason.value,
            "note": wanted.note,
        },
    )
    return MessageReport.model_validate(dict(row))


async def decide(session: Session, actor: Actor, report_id: UUID, action: Action, reason: str) -> MessageReport:
    """Staff agree with the report or not; the one who reported reads why. Raises `NotFound`, `IllegalTransition`."""
    row = await LIFECYCLE.advance(session, report_id, action, actor, reason=reason, decision_reason=reason)
    return MessageReport.model_validate(dict(row))


_sees = access.looks_on(message_reports.c.region_id)
_in_status = select(message_reports).where(
    message_reports.c.status == bindparam("status", type_=Text),
    message_reports.c.id < bindparam("before", type_=Uuid),
    _sees,
)
_LISTED = Statement(newest(_in_status, message_reports.c.id))
_ONE = Statement(select(message_reports).where(message_reports.c.id == bindparam("report_id", type_=Uuid), _sees))


async def listed(session: ReadSession, actor: Actor, wanted: ReportsPage) -> Page[MessageReport]:
    """Reports in this status, newest first; a manager sees those of the own regions."""
    rows = await session.all(
        _LISTED,
        actor_id=actor.id,
        actor_roles=list(actor.roles),
        status=wanted.status.value,
        before=decode(wanted.cursor),
        rows=wanted.limit + 1,
    )
    return page_of(rows, wanted.limit, lambda row: MessageReport.model_validate(dict(row)))


async def one(session: ReadSession, actor: Actor, report_id: UUID) -> ReportedMessage:
    """A report with the messages around the one that it is about."""
    row = await session.first(_ONE, report_id=report_id, actor_id=actor.id, actor_roles=list(actor.roles))
    if row is None:
        raise NotFound()
    around = await reading.around(session, row["conversation_id"], row["message_id"])
    return ReportedMessage.model_validate(dict(row) | {"messages": around})
