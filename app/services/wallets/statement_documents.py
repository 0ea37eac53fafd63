"""Statements on paper: written by a job, kept as a private file of the owner's."""

import asyncio
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select

from app.adapters import documents
from app.core.database import Statement
from app.kernel import files
from app.kernel.events import emit
from app.kernel.platform import Platform
from app.models.files import FilePurpose
from app.models.users import users
from app.services.wallets.events import StatementReady
from app.services.wallets.statement_requests import Task
from app.services.wallets.statements import StatementRow, opening_balance, statement_rows

_TYPE: Final = "application/pdf"
_OWNER = Statement(select(users.c.name, users.c.language).where(users.c.id == bindparam("owner_id")))


async def render(platform: Platform, payload: bytes) -> None:
    """The job: write it, keep it, tell the owner."""
    task = Task.model_validate_json(payload)
    async with platform.database.read() as session:
        owner = await session.first(_OWNER, owner_id=task.owner_id)
        rows = [row async for row in statement_rows(session, task.owner_id, task.currency, task.since, task.until)]
        opening = await opening_balance(session, task.owner_id, task.currency, task.since)
    if owner is None:
        return
    zone = ZoneInfo(platform.settings.invoice_time_zone)
    paper = documents.Statement(
        issuer=platform.settings.invoice_seller_name,
        owner=owner["name"],
        language=owner["language"],
        currency=task.currency,
        first=task.since.astimezone(zone).date(),
        last=(task.until - timedelta(microseconds=1)).astimezone(zone).date(),
        opening_minor=opening,
        closing_minor=rows[-1].balance_minor if rows else opening,
        rows=[documents.StatementRow(row.created_at, _words(row), row.amount_minor, row.balance_minor) for row in rows],
        made_at=task.made_at.astimezone(zone),
    )
    content = await asyncio.get_running_loop().run_in_executor(
        documents.WRITER, documents.render_statement, paper, zone
    )
    await files.keep(
        platform,
        FilePurpose.STATEMENT,
        content,
        _TYPE,
        file_id=task.file_id,
        owner_id=task.owner_id,
        subject=("user", task.owner_id),
    )
    async with platform.database.write() as session:
        ready = StatementReady(file_id=task.file_id)
        await emit(session, ready, subject_type="user", subject_id=task.owner_id, to=[task.owner_id])


def _words(row: StatementRow) -> str:
    """What a movement was, as far as the ledger knows."""
    kind = row.kind.replace("_", " ").capitalize()
    return f"{kind}: {row.reason}" if row.reason else kind
