"""Queued jobs: messages and documents, retried with growing pauses, and the schedule of what is cleaned up."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from pgqueuer import PgQueuer
from pgqueuer.errors import RetryRequested
from pgqueuer.executors import DatabaseRetryEntrypointExecutor
from pgqueuer.models import Job, Schedule
from pydantic_core import from_json
from sqlalchemy import (
    ColumnElement,
    Double,
    Table,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from app.adapters.payments import sandbox_delivery, sandbox_webhooks
from app.adapters.push import PushAway
from app.core.database import Statement
from app.kernel import files
from app.kernel.events import Channel
from app.kernel.platform import Platform
from app.models.api_keys import api_keys
from app.models.events import events, notifications
from app.models.idempotency import idempotency_keys
from app.models.payments import webhook_events
from app.models.users import refresh_tokens, sessions
from app.models.webhook_endpoints import webhook_deliveries
from app.services.flows import invoicing
from app.services.invoices import pdf_requests, rendering
from app.services.notifications import delivery, recipients
from app.services.payments import refunds
from app.services.users import messages
from app.services.wallets import statement_documents, statement_requests
from app.services.work_orders import statistics

_log = structlog.get_logger()

_BATCH: Final = 5000
_PUSHED_AT_ONCE: Final = 32


def _pruning(table: Table, condition: ColumnElement[bool]) -> Statement:
    """Delete a bounded number of rows, so that no run holds locks for long or meets the statement timeout."""
    key = list(table.primary_key.columns)
    batch = select(*key).where(condition).limit(literal_column(str(_BATCH)))
    return Statement(delete(table).where(tuple_(*key).in_(batch)))


_age: ColumnElement[Any] = bindparam("seconds", type_=Double) * literal_column("interval '1 second'")
_ended = exists().where(
    sessions.c.id == refresh_tokens.c.session_id,
    or_(sessions.c.revoked_at < func.now() - _age, refresh_tokens.c.expires_at < func.now() - _age),
)
# Tokens before their sessions, deliveries and notifications before their events: in the order in which the one names
# the other.
_PRUNED: Final = (
    _pruning(webhook_deliveries, webhook_deliveries.c.created_at < func.now() - _age),
    _pruning(notifications, notifications.c.created_at < func.now() - _age),
    _pruning(events, events.c.created_at < func.now() - _age),
    _pruning(api_keys, or_(api_keys.c.revoked_at < func.now() - _age, api_keys.c.expires_at < func.now() - _age)),
    _pruning(webhook_events, webhook_events.c.processed_at < func.now() - _age),
    _pruning(refresh_tokens, _ended),
    _pruning(
        sessions,
        (sessions.c.last_used_at < func.now() - _age) & ~exists().where(refresh_tokens.c.session_id == sessions.c.id),
    ),
)
_KEYS: Final = _pruning(idempotency_keys, idempotency_keys.c.created_at < func.now() - _age)


def _retrying(parameters: Any) -> DatabaseRetryEntrypointExecutor:
    """1, 2, 4 … seconds between tries, five minutes at most; after 30 tries, about two hours, the job is held."""
    return DatabaseRetryEntrypointExecutor(parameters, max_attempts=30, max_delay=timedelta(minutes=5))


def _told(job: Job) -> dict[str, Any]:
    """What whoever queued the job had to say."""
    told: dict[str, Any] = from_json(job.payload or b"{}")
    return told


def build(platform: Platform, connection: Any) -> PgQueuer:
    """The queue with every job that this product has."""
    queue = PgQueuer.from_asyncpg_connection(connection)

    @queue.entrypoint("send_code", executor_factory=_retrying, on_failure="hold")
    async def send_code(job: Job) -> None:
        about = _told(job)
        await messages.send_code(platform, UUID(about["user_id"]), about["channel"], about["purpose"])

    _tell_recipients(platform, queue)

    @queue.entrypoint(sandbox_webhooks.SEND, executor_factory=_retrying, on_failure="hold")
    async def send_sandbox_webhook(job: Job) -> None:
        await sandbox_delivery.deliver(platform.settings, job.payload or b"")

    @queue.entrypoint(refunds.SEND_REFUND, executor_factory=_retrying, on_failure="hold")
    async def send_refund(job: Job) -> None:
        await refunds.send(platform, UUID(_told(job)["refund_id"]))

    # More would wait for each other at the seller's counter, each with a connection, or for the process's one writer.
    @queue.entrypoint("issue_invoice", executor_factory=_retrying, on_failure="hold", concurrency_limit=4)
    async def issue_invoice(job: Job) -> None:
        about = _told(job)
        async with platform.database.write() as session:
            await invoicing.document(session, about["event"], UUID(about["subject_id"]))

    @queue.entrypoint(pdf_requests.RENDER, executor_factory=_retrying, on_failure="hold", concurrency_limit=8)
    async def render_invoice(job: Job) -> None:
        about = _told(job)
        await rendering.render(platform, UUID(about["invoice_id"]))

    @queue.entrypoint(statement_requests.RENDER, executor_factory=_retrying, on_failure="hold", concurrency_limit=2)
    async def render_statement(job: Job) -> None:
        await statement_documents.render(platform, job.payload or b"")

    _schedule(queue, platform)
    return queue


def _schedule(queue: PgQueuer, platform: Platform) -> None:
    """What is done by the time of the day."""

    @queue.schedule("sweep_files", "*/5 * * * *")
    async def sweep_files(_: Schedule) -> None:
        _log.info("files_swept", count=await files.sweep(platform))

    @queue.schedule("prune", "17 3 * * *")
    async def prune(_: Schedule) -> None:
        await prune_history(platform)

    # Every five seconds: whoever reads the platform's statistics adds up what has changed since, a step at a time.
    @queue.schedule("merge_tallies", "* * * * * */5")
    async def merge(_: Schedule) -> None:
        await merge_tallies(platform)


async def merge_tallies(platform: Platform) -> None:
    """Add up all that has changed in the statistics of work orders, a batch in a transaction."""
    merged = 1
    while merged:
        async with platform.database.write_single() as session:
            merged = await statistics.merge(session)


def _tell_recipients(platform: Platform, queue: PgQueuer) -> None:
    """The jobs that take events out of the platform."""

    @queue.entrypoint(recipients.JOBS[Channel.MAIL], executor_factory=_retrying, on_failure="hold")
    async def mail_event(job: Job) -> None:
        about = _told(job)
        await delivery.mail_event(platform, UUID(about["user_id"]), UUID(about["event_id"]))

    @queue.entrypoint(recipients.JOBS[Channel.SMS], executor_factory=_retrying, on_failure="hold")
    async def text_event(job: Job) -> None:
        about = _told(job)
        await delivery.text_event(platform, UUID(about["user_id"]), UUID(about["event_id"]))

    # Not held in the end: by then nobody wants to be woken by it any more.
    @queue.entrypoint(recipients.JOBS[Channel.PUSH], executor_factory=_retrying, concurrency_limit=_PUSHED_AT_ONCE)
    async def push_event(job: Job) -> None:
        about = _told(job)
        try:
            await delivery.push_event(platform, UUID(about["device_id"]), UUID(about["event_id"]))
        except PushAway as away:
            if away.retry_after is None:
                raise
            wait = min(max(away.retry_after, 1), platform.settings.push_retry_seconds)
            raise RetryRequested(timedelta(seconds=wait), str(away)) from away


async def prune_history(platform: Platform) -> None:
    """Forget idempotency keys after a week; events, notifications, webhooks, ended sessions and keys after 90 days."""
    await _prune(platform, _KEYS, platform.settings.idempotency_seconds)
    for statement in _PRUNED:
        await _prune(platform, statement, platform.settings.event_retention_seconds)


async def _prune(platform: Platform, statement: Statement, seconds: float) -> None:
    deleted = _BATCH
    while deleted == _BATCH:
        async with platform.database.write_single() as session:
            deleted = await session.execute(statement, seconds=seconds)
