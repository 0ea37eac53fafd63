"""Who is who for payouts, and the lock that makes one owner's doings queue up."""

from uuid import UUID

from app.core.database import Session
from app.core.errors import Forbidden
from app.kernel.lifecycle import actor_has
from app.kernel.locks import lock_account
from app.models.users import Role


class AccountNotActive(Forbidden):
    code, title = "account_not_active", "The account is suspended; no money leaves it."


is_admin = actor_has(Role.ADMIN)
is_reviewer = actor_has(Role.ADMIN, Role.SUPPORT)
"""Support may look, admins decide."""


async def lock_owner(session: Session, owner_id: UUID) -> bool:
    """Make the owner's other doings with payouts wait, so that what is read next holds until the commit.

    The first of the locks: owner → profile or payout → its deadlines → accounts. Answers whether the account is active.
    """
    return await lock_account(session, owner_id)


async def lock_active_owner(session: Session, owner_id: UUID) -> None:
    """As `lock_owner`; `AccountNotActive` for whoever was suspended while the request was on its way."""
    if not await lock_owner(session, owner_id):
        raise AccountNotActive()
