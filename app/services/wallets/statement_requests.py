"""Asking for a statement on paper; `statement_documents.py` writes it, in a worker."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from pydantic_core import to_json

from app.core.actor import Actor
from app.core.database import Session
from app.core.errors import Unprocessable
from app.core.ids import uuid7
from app.kernel import jobs
from app.kernel.platform import Platform
from app.schemas.base import Answer
from app.schemas.wallets import STATEMENT_LIMIT, ExportStatement, RequestedStatement
from app.services.wallets.statements import is_longer_than, period_of

RENDER: Final = "render_statement"
"""The job of `render`."""


class StatementTooLong(Unprocessable):
    code, title = "statement_too_long", "Too many movements for a document: take a shorter period, or CSV."


class Task(Answer):
    """What the job is told; the end of the period and the time are fixed, so that it can run twice."""

    file_id: UUID
    owner_id: UUID
    currency: str
    since: datetime
    until: datetime
    made_at: datetime


async def request(session: Session, platform: Platform, actor: Actor, wanted: ExportStatement) -> RequestedStatement:
    """Have the statement of a period written; the file can be read once `wallet.statement_ready` has come.

    Raises `InvalidPeriod`, `StatementTooLong`, `TooManyRequests`.
    """
    await platform.limits.hit(platform.settings.statement_documents, "statement", str(actor.user_id))
    now = datetime.now(UTC)
    task = Task(
        file_id=uuid7(),
        owner_id=actor.user_id,
        currency=wanted.currency,
        since=wanted.since,
        until=period_of(wanted, now),
        made_at=now,
    )
    if await is_longer_than(session, STATEMENT_LIMIT, task.owner_id, task.currency, task.since, task.until):
        raise StatementTooLong(limit=STATEMENT_LIMIT)
    await jobs.enqueue(session, [(RENDER, to_json(task))])
    return RequestedStatement(file_id=task.file_id)
