"""The lock of an account: what must not happen twice at once for one user queues up behind it.

It makes a count hold that is compared with a limit: whoever comes next counts what the one before has added.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.database import Session, Statement
from app.models.users import UserStatus, users

_LOCK: Final = Statement(
    select(users.c.status).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True)
)


async def lock_account(session: Session, user_id: UUID) -> bool:
    """Lock the account until the commit; whether it is active."""
    return bool(await session.scalar(_LOCK, user_id=user_id) == UserStatus.ACTIVE)
