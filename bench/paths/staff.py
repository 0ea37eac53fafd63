"""Queues and overviews of those who look after the platform."""

from collections.abc import Sequence

from bench.paths.asking import COUNT, Question, person
from bench.paths.town import Town, in_turn


async def questions(town: Town) -> Sequence[Question]:
    admins = in_turn([await town.admin()], COUNT)
    admin = person(town.world, "user_id", "admin")
    queues = {
        "work orders": "admin/work-orders",
        "work orders in one status": "admin/work-orders?status=EVIDENCE_SUBMITTED",
        "statistics of work orders": "admin/work-orders/statistics",
        "service requests": "admin/service-requests",
        "reported leads": "leads/reported",
        "applications of providers": "applications",
        "applications for roles": "role-applications",
        "payments": "admin/payments",
        "payments under review": "admin/payments?status=UNDER_REVIEW",
        "payout profiles": "admin/payout-profiles",
        "payouts to be sent": "admin/payouts",
        "invoices": "admin/invoices",
        "reported messages": "admin/message-reports",
    }
    return [Question(name, admin.get(path), admins) for name, path in queues.items()]
