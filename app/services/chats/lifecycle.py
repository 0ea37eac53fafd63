"""What becomes of a report about a message, as a table; and whose the images in messages are to open."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, or_, select

from app.core.errors import Forbidden
from app.kernel import subjects
from app.kernel.lifecycle import Columns, Creation, Emit, Guard, Lifecycle, Transition
from app.models.chats import MessageReportStatus as Status
from app.models.chats import conversations, message_reports, messages
from app.models.files import FilePurpose
from app.models.regions import region_managers
from app.models.users import Role
from app.services.chats import access, events
from app.services.users import roles


class Action(StrEnum):
    DISMISS = "dismiss"
    UPHOLD = "uphold"


_staff = Guard(access.looks_on(message_reports.c.region_id), Forbidden)


def _to_staff(row: Columns) -> Select[Any]:
    managers = select(region_managers.c.user_id).where(region_managers.c.region_id == row.region_id)
    return select(roles.holding(Role.SUPPORT).union(managers).subquery().c.user_id)


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"report_id": row.id, "message_id": row.message_id, "conversation_id": row.conversation_id}


def _decided(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {"reason": row.decision_reason}


LIFECYCLE = Lifecycle(
    "message_report",
    message_reports,
    Status,
    Creation(
        Status.OPEN,
        who="who reads the message and has not written it",
        emits=[Emit(events.MessageReported, _to_staff, lambda row: _about(row) | {"report_reason": row.reason})],
    ),
    [
        Transition(
            Action.DISMISS,
            frozenset({Status.OPEN}),
            Status.DISMISSED,
            who="support, the region's manager, admin, with reason",
            allowed=_staff,
            records=["decision_reason"],
            emits=[Emit(events.ReportDismissed, lambda row: row.reporter_id, _decided)],
        ),
        Transition(
            Action.UPHOLD,
            frozenset({Status.OPEN}),
            Status.UPHELD,
            who="support, the region's manager, admin, with reason",
            allowed=_staff,
            records=["decision_reason"],
            emits=[Emit(events.ReportUpheld, lambda row: row.reporter_id, _decided)],
        ),
    ],
    visible=access.looks_on(message_reports.c.region_id),
)


def _sees_images() -> ColumnElement[bool]:
    """Parties see images until the message or the conversation is deleted, staff always."""
    sees = or_(messages.c.deleted_at.is_(None) & access.is_party(), access.is_staff)
    return exists(select(1).where(conversations.c.id == messages.c.conversation_id, sees).correlate(messages))


subjects.register(subjects.Subject("message", messages, readers={FilePurpose.CHAT_IMAGE: _sees_images}))
