"""The double-entry ledger. Its rules live in triggers (migration 0002), so that no code can post around them:

* `postings_balance`: the postings that one statement adds to an entry sum to zero per currency; the accounts named
  exist with that currency; every balance that is kept is moved by exactly these amounts, in the order of account ids.
* `append_only`: entries and postings are never updated, deleted or truncated; accounts are `kept_for_ever`.
* `balance_moves_by_postings`: nothing else moves a balance.
* `accounts_floor` and `accounts_floor_not_negative` (checks): no balance falls below the account's floor, and no floor
  below zero, except that of a debt.
* `accounts_debt_limit` and `accounts_debt_owed` (checks): the balance of a debt stays between its floor and zero.
"""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from app.models.base import identifier, metadata, moment, one_of, text


class AccountKind(StrEnum):
    WALLET = "wallet"
    ESCROW = "escrow"
    DEBT = "debt"
    FEES = "fees"
    COMMISSION = "commission"
    CLEARING = "clearing"
    ADJUSTMENT = "adjustment"


PLATFORM_KINDS = (AccountKind.FEES, AccountKind.COMMISSION, AccountKind.CLEARING, AccountKind.ADJUSTMENT)

accounts = Table(
    "accounts",
    metadata,
    identifier(),
    Column("owner_id", Uuid, nullable=False),  # a user, a shop or a subject; the nil UUID for the platform
    text("kind"),
    text("currency"),
    # Minor units. NULL for the platform's own accounts: they are summed up when somebody asks, so that the busiest
    # accounts of all have no row for every payment to queue up at.
    Column("balance", BigInteger),
    # Minor units. A debt's is set by `lock_accounts` (migration 0018) from the setting, every time before it may grow.
    Column("floor", BigInteger, nullable=False, server_default="0"),
    moment("created_at", now=True),
    one_of("kind", AccountKind),
    CheckConstraint("kind = 'debt' OR balance >= floor", name="floor"),
    CheckConstraint("kind = 'debt' OR floor >= 0", name="floor_not_negative"),
    CheckConstraint("kind <> 'debt' OR balance >= floor", name="debt_limit"),
    CheckConstraint("kind <> 'debt' OR balance <= 0", name="debt_owed"),
    CheckConstraint("(balance IS NULL) = (kind IN ('fees', 'commission', 'clearing', 'adjustment'))", name="kept"),
    UniqueConstraint("owner_id", "kind", "currency"),
)

entries = Table(
    "entries",
    metadata,
    identifier(),
    text("kind"),
    Column("subject_type", Text),
    Column("subject_id", Uuid),
    Column("idempotency_key", Text, unique=True),  # names the effect, so that it cannot happen twice
    Column("reverses_id", Uuid, ForeignKey("entries.id"), unique=True),
    Column("actor_id", Uuid),
    Column("reason", Text),
    moment("created_at", now=True),
    Index("entries_subject_id_index", "subject_id"),
)

postings = Table(
    "postings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("entry_id", Uuid, ForeignKey("entries.id"), nullable=False),
    # No foreign key: its share lock on a platform account would turn that row into the queue that it must not be.
    # `postings_balance` checks that the account exists; accounts are never deleted.
    Column("account_id", Uuid, nullable=False),
    text("currency"),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount <> 0", name="amount_not_zero"),
    Index("postings_account_id_index", "account_id", "id"),
    Index("postings_entry_id_index", "entry_id"),
)
