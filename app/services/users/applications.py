"""What applications for roles have in common, whoever reviews them (identity.md: Roles and onboarding)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core.database import Statement
from app.core.errors import Conflict, TooManyRequests
from app.kernel.events import Event, emit
from app.kernel.platform import Platform


class AlreadyApplied(Conflict):
    code, title = "already_applied", "You have applied before; the application is pending or approved."


class PreviouslyRejected(Conflict):
    code, title = "previously_rejected", "An application of this account was turned down before."


async def tell_of_reapplication(
    platform: Platform, event: Event, subject: tuple[str, UUID], reviewers: Statement, values: Mapping[str, Any]
) -> None:
    """Tell those whom the statement finds, in its column `user_id`, that somebody who was turned down tried again.

    In a transaction of its own, because the refusal rolls the caller's back; seldom, however often one tries.
    """
    subject_type, subject_id = subject
    try:
        await platform.limits.hit(platform.settings.reapplication_notices, "reapplication", str(subject_id))
    except TooManyRequests:
        return
    async with platform.database.write() as session:
        told = [row["user_id"] for row in await session.all(reviewers, **values)]
        await emit(session, event, subject_type=subject_type, subject_id=subject_id, to=told)
