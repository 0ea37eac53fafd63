"""Leads: what a provider bought, and how the fee comes back (leads.md: Purchase, Bad lead)."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Double, Select, bindparam, func, literal_column, or_, select

from app.core.actor import CLOCK, Actor
from app.core.database import Session, Statement, refuse_violation
from app.core.errors import Conflict, Forbidden
from app.kernel import ledger
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, Lifecycle, Transition, actor_has, constant
from app.models.regions import region_managers
from app.models.service_requests import LeadStatus, lead_purchases
from app.models.users import Role
from app.schemas.service_requests import Lead, ReportLead
from app.services.regions.queries import managed_by_actor
from app.services.service_requests import events
from app.services.service_requests.lifecycle import AlreadyPurchased
from app.services.users import roles


class Action(StrEnum):
    REPORT = "report"
    ACCEPT_REPORT = "accept_report"
    REFUSE_REPORT = "refuse_report"
    REFUND = "refund"


class NotYourLead(Forbidden):
    code, title = "not_your_lead", "Only the provider who bought the lead may report it."


class ReportTooLate(Conflict):
    code, title = "report_too_late", "A lead can be reported for seven days after its purchase."


# The wall behind "buying twice charges once".
refuse_violation("lead_purchases_once", AlreadyPurchased)

_is_buyer = lead_purchases.c.provider_id == ACTOR
_is_staff = or_(
    actor_has(Role.ADMIN, Role.SUPPORT),
    managed_by_actor.where(region_managers.c.region_id == lead_purchases.c.region_id),
)
_one_second: ColumnElement[Any] = literal_column("interval '1 second'")
_fresh = lead_purchases.c.created_at > func.now() - bindparam("report_seconds", type_=Double) * _one_second
_staff = Guard(_is_staff, Forbidden)


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"lead_id": row.id, "service_request_id": row.service_request_id}


def _money(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _about(row) | {"fee_minor": row.fee_minor, "currency": row.currency}


def _refunded(row: Columns) -> dict[str, ColumnElement[Any]]:
    return _money(row) | {"decision_reason": row.decision_reason}


def _to_staff(row: Columns) -> Select[Any]:
    support = roles.holding(Role.SUPPORT)
    managers = select(region_managers.c.user_id).where(region_managers.c.region_id == row.region_id)
    return select(support.union(managers).subquery().c.user_id)


LIFECYCLE = Lifecycle(
    "lead",
    lead_purchases,
    LeadStatus,
    Creation(
        LeadStatus.PAID,
        who="a matching provider, by purchase",
        emits=[Emit(events.LeadPurchased, lambda row: row.provider_id, _money)],
    ),
    [
        Transition(
            Action.REPORT,
            frozenset({LeadStatus.PAID}),
            LeadStatus.REPORTED,
            who="the buyer, within 7 days, with reason",
            allowed=Guard(_is_buyer, NotYourLead),
            guards=[Guard(_fresh, ReportTooLate)],
            records=["report_reason", "report_note"],
            emits=[
                Emit(
                    events.LeadReported,
                    _to_staff,
                    lambda row: (
                        _about(row)
                        | {
                            "provider_id": row.provider_id,
                            "report_reason": row.report_reason,
                            "report_note": row.report_note,
                        }
                    ),
                    quietly_to=lambda row: row.provider_id,
                )
            ],
        ),
        Transition(
            Action.ACCEPT_REPORT,
            frozenset({LeadStatus.REPORTED}),
            LeadStatus.REFUNDED,
            who="support, the region's manager, admin, with reason",
            allowed=_staff,
            records=["decision_reason"],
            emits=[Emit(events.LeadRefunded, lambda row: row.provider_id, _refunded)],
        ),
        Transition(
            Action.REFUSE_REPORT,
            frozenset({LeadStatus.REPORTED}),
            LeadStatus.REFUSED,
            who="support, the region's manager, admin, with reason",
            allowed=_staff,
            records=["decision_reason"],
            emits=[
                Emit(
                    events.LeadReportRefused,
                    lambda row: row.provider_id,
                    lambda row: _about(row) | {"reason": row.decision_reason},
                )
            ],
        ),
        Transition(
            Action.REFUND,
            frozenset({LeadStatus.PAID, LeadStatus.REPORTED, LeadStatus.REFUSED}),
            LeadStatus.REFUNDED,
            who="the platform, when the request ends unworked",
            allowed=None,
            emits=[Emit(events.LeadRefunded, lambda row: row.provider_id, _refunded)],
        ),
    ],
    visible=or_(_is_buyer, _is_staff),
)

# Locked together and first: a report that is decided at this moment is waited for, and then it is not refunded again.
_UNWORKED = Statement(
    select(lead_purchases.c.id, lead_purchases.c.provider_id, lead_purchases.c.currency)
    .where(
        lead_purchases.c.service_request_id == bindparam("service_request_id"),
        lead_purchases.c.worked_at.is_(None),
        lead_purchases.c.status != constant(LeadStatus.REFUNDED),
    )
    .order_by(lead_purchases.c.id)
    .with_for_update(key_share=True)
)


def fee_key(lead_id: UUID) -> str:
    """Names the fee in the ledger, and with it the one refund that there can be."""
    return f"lead_fee:{lead_id}"


async def report(session: Session, actor: Actor, lead_id: UUID, given: ReportLead, within_seconds: float) -> Lead:
    """Report a bad lead. `ReportTooLate`; the fee comes back when support accepts."""
    row = await LIFECYCLE.advance(
        session,
        lead_id,
        Action.REPORT,
        actor,
        reason=given.note,
        report_reason=given.reason.value,
        report_note=given.note,
        report_seconds=within_seconds,
    )
    return Lead.model_validate(dict(row))


async def decide(session: Session, actor: Actor, lead_id: UUID, action: Action, reason: str) -> Lead:
    """Accept a report, which returns the fee once, or refuse it."""
    row = await LIFECYCLE.advance(session, lead_id, action, actor, reason=reason, decision_reason=reason)
    if action is Action.ACCEPT_REPORT:
        await ledger.reverse(session, fee_key(lead_id), actor_id=actor.id, reason=reason)
    return Lead.model_validate(dict(row))


async def refund_unworked(session: Session, service_request_id: UUID, actor: Actor, reason: str) -> int:
    """Give the fee back to every buyer who had not begun to work; how many that were.

    The caller holds the request's row lock, which purchases need too, so no buyer is missed.
    """
    leads = await session.all(_UNWORKED, service_request_id=service_request_id)
    # All accounts of all entries at once, so that cancellations that refund the same providers cannot deadlock.
    owners = [(lead["provider_id"], lead["currency"]) for lead in leads]
    await ledger.lock(
        session, (), if_open=[account(*owner) for owner in owners for account in (ledger.wallet, ledger.debt)]
    )
    for lead in leads:
        await LIFECYCLE.advance(session, lead["id"], Action.REFUND, CLOCK, reason=reason)
        await ledger.reverse(session, fee_key(lead["id"]), actor_id=actor.id, reason=reason)
    return len(leads)
