"""Queued jobs: messages out, retried with growing pauses, and the schedule of what is cleaned up."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from pgqueuer import PgQueuer
from pgqueuer.executors import DatabaseRetryEntrypointExecutor
from pgqueuer.models import Job, Schedule
from pydantic_core import from_json
from sqlalchemy import Double, bindparam, delete, func, literal_column

from app.core.database import Statement
from app.kernel import files, idempotency
from app.kernel.platform import Platform
from app.models.events import events, notifications
from app.services.users import messages

_log = structlog.get_logger()

_age = bindparam("seconds", type_=Double) * literal_column("interval '1 second'")
_PRUNE: Final = (
    Statement(delete(notifications).where(notifications.c.created_at < func.now() - _age)),
    Statement(delete(events).where(events.c.created_at < func.now() - _age)),
)


def _retrying(parameters: Any) -> DatabaseRetryEntrypointExecutor:
    """1, 2, 4 … seconds between tries, five minutes at most; after 30 tries, about two hours, the job is held."""
    return DatabaseRetryEntrypointExecutor(parameters, max_attempts=30, max_delay=timedelta(minutes=5))


def build(platform: Platform, connection: Any) -> PgQueuer:
    """The queue with every job that this product has."""
    queue = PgQueuer.from_asyncpg_connection(connection)

    @queue.entrypoint("send_code", executor_factory=_retrying, on_failure="hold")
    async def send_code(job: Job) -> None:
        about = from_json(job.payload or b"{}")
        await messages.send_code(platform, UUID(about["user_id"]), about["channel"], about["purpose"])

    @queue.entrypoint("mail_event", executor_factory=_retrying, on_failure="hold")
    async def mail_event(job: Job) -> None:
        about = from_json(job.payload or b"{}")
        await messages.mail_event(platform, UUID(about["user_id"]), UUID(about["event_id"]))

    @queue.schedule("sweep_files", "*/5 * * * *")
    async def sweep_files(_: Schedule) -> None:
        _log.info("files_swept", count=await files.sweep(platform))

    @queue.schedule("prune", "17 3 * * *")
    async def prune(_: Schedule) -> None:
        await prune_history(platform)

    return queue


async def prune_history(platform: Platform) -> None:
    """Forget idempotency keys after a week, and events with their notifications after 90 days."""
    async with platform.database.write() as session:
        await session.execute(idempotency.PRUNE)
        for statement in _PRUNE:
            await session.execute(statement, seconds=platform.settings.event_retention_seconds)
