"""Chat: conversations about a subject, read positions, blocks, reports (realtime.md: Chat)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Reading, SignedIn, Staff, ThePlatform, Writing, WritingOnce
from app.routers.problems import documented
from app.schemas.base import Done, Page, PageQuery, Reason
from app.schemas.chats import (
    BlockedUser,
    Conversation,
    ConversationsPage,
    MarkConversationRead,
    Message,
    MessageReport,
    OpenConversation,
    ReadPosition,
    ReportedMessage,
    ReportMessage,
    ReportsPage,
    SendMessage,
    SubjectsConversations,
)
from app.services.chats import blocks, deletion, opening, positions, reading, reports, sending
from app.services.chats.lifecycle import Action

router = APIRouter(prefix="/api/v1", tags=["chat"])
_STAFF = documented(401, 403, 404, 409)


@router.post(
    "/conversations/{conversation_id}/messages",
    status_code=status.HTTP_201_CREATED,
    responses=documented(401, 403, 404, 409, 429),
)
async def send(
    conversation_id: UUID, body: SendMessage, session: WritingOnce, actor: SignedIn, platform: ThePlatform
) -> Message:
    """Write text, images or both. With the same `client_message_id` it is there once, however often it is sent."""
    return await sending.send(session, platform, actor, conversation_id, body)


@router.get("/conversations/{conversation_id}/messages", responses=documented(401, 404))
async def list_messages(
    conversation_id: UUID, session: Reading, actor: SignedIn, page: Annotated[PageQuery, Query()]
) -> Page[Message]:
    """Newest first."""
    return await reading.listed_messages(session, actor, conversation_id, page)


@router.put("/conversations/{conversation_id}/read", responses=documented(401, 404))
async def mark_read(
    conversation_id: UUID, body: MarkConversationRead, session: WritingOnce, actor: SignedIn
) -> ReadPosition:
    """Everything up to this message was read; the others are told. It never moves backwards."""
    return await positions.mark_read(session, actor, conversation_id, body.number)


@router.get("/conversations", responses=documented(401))
async def list_own(
    session: Reading, actor: SignedIn, page: Annotated[ConversationsPage, Query()]
) -> Page[Conversation]:
    """The conversations in which the caller takes part, latest activity first."""
    return await reading.own(session, actor, page)


@router.post("/conversations", responses=documented(401, 404, 429))
async def begin(body: OpenConversation, session: Writing, actor: SignedIn, platform: ThePlatform) -> Conversation:
    """Open the conversation about a subject, or find the one that there is."""
    return await opening.begin(session, platform, actor, body)


@router.get("/conversations/{conversation_id}", responses=documented(401, 404))
async def read(conversation_id: UUID, session: Reading, actor: SignedIn) -> Conversation:
    return await reading.conversation(session, actor, conversation_id)


@router.delete("/messages/{message_id}", responses=documented(401, 404))
async def delete_message(message_id: UUID, session: Writing, actor: SignedIn) -> Done:
    """Take one's own message back: its number stays, its content is gone for all who take part."""
    await deletion.delete(session, actor, message_id)
    return Done()


@router.post(
    "/messages/{message_id}/reports", status_code=status.HTTP_201_CREATED, responses=documented(401, 404, 409, 429)
)
async def report(
    message_id: UUID, body: ReportMessage, session: Writing, actor: SignedIn, platform: ThePlatform
) -> MessageReport:
    """Report what somebody else has written; support and the region's managers look at it."""
    return await reports.report(session, platform, actor, message_id, body)


@router.get("/me/blocks", responses=documented(401))
async def list_blocked(session: Reading, actor: SignedIn, page: Annotated[PageQuery, Query()]) -> Page[BlockedUser]:
    """Whom the caller has blocked."""
    return await blocks.listed(session, actor, page)


@router.put("/me/blocks/{user_id}", responses=documented(401, 404))
async def block(user_id: UUID, session: Writing, actor: SignedIn) -> Done:
    """No new messages between the two, in either direction. For people who met in a conversation."""
    await blocks.block(session, actor, user_id)
    return Done()


@router.delete("/me/blocks/{user_id}", responses=documented(401, 404))
async def unblock(user_id: UUID, session: Writing, actor: SignedIn) -> Done:
    await blocks.unblock(session, actor, user_id)
    return Done()


@router.get("/admin/conversations", responses=documented(401, 403), tags=["staff"])
async def list_of_subject(
    session: Reading, actor: Staff, page: Annotated[SubjectsConversations, Query()]
) -> Page[Conversation]:
    """All conversations about a subject, deleted ones too; a manager sees those of the own regions."""
    return await reading.of_subject(session, actor, page)


@router.post("/admin/conversations/{conversation_id}/join", responses=_STAFF, tags=["staff"])
async def join(conversation_id: UUID, session: Writing, actor: Staff) -> Conversation:
    """Take part in it, in sight of its parties."""
    return await opening.join(session, conversation_id, actor)


@router.get("/admin/message-reports", responses=documented(401, 403), tags=["staff"])
async def list_reports(session: Reading, actor: Staff, page: Annotated[ReportsPage, Query()]) -> Page[MessageReport]:
    """Reports of messages by status, newest first; a manager sees those of the own regions."""
    return await reports.listed(session, actor, page)


@router.get("/admin/message-reports/{report_id}", responses=documented(401, 403, 404), tags=["staff"])
async def read_report(report_id: UUID, session: Reading, actor: Staff) -> ReportedMessage:
    """With the messages around the one that was reported, as they were written."""
    return await reports.one(session, actor, report_id)


@router.post("/admin/message-reports/{report_id}/dismiss", responses=_STAFF, tags=["staff"])
async def dismiss_report(report_id: UUID, body: Reason, session: Writing, actor: Staff) -> MessageReport:
    """There is nothing wrong with the message."""
    return await reports.decide(session, actor, report_id, Action.DISMISS, body.reason)


@router.post("/admin/message-reports/{report_id}/uphold", responses=_STAFF, tags=["staff"])
async def uphold_report(report_id: UUID, body: Reason, session: Writing, actor: Staff) -> MessageReport:
    """The report is right; what follows for the author is decided about the account."""
    return await reports.decide(session, actor, report_id, Action.UPHOLD, body.reason)
