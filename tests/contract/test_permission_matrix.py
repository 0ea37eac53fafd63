"""Every operation × every role: what somebody who has nothing to do with a thing may do with it (roles.md).

The table is written from the specification and not from the code. Whatever it does not name is denied to all, so a new
operation joins here or fails.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import httpx
import pytest

from app.models.users import Role
from tests.contract.operations import OPERATIONS, Operation, at_once, sample
from tests.contract.stage import Stage
from tests.support.world import Person, World

_ADMIN: Final = frozenset({Role.ADMIN})
_REVIEWER: Final = frozenset({Role.ADMIN, Role.MANAGER})
_SUPPORT: Final = frozenset({Role.ADMIN, Role.SUPPORT})
_STAFF: Final = frozenset({Role.ADMIN, Role.MANAGER, Role.SUPPORT})
_PROVIDER: Final = frozenset({Role.PROVIDER})
_ADVERTISER: Final = frozenset({Role.ADVERTISER})
_NOBODY: Final[frozenset[Role]] = frozenset()

ROLES_OF: Final = {
    "POST /api/v1/service-requests/{request_id}/purchase": _PROVIDER,
    "POST /api/v1/service-requests/{request_id}/start": _PROVIDER,
    "POST /api/v1/service-requests/{request_id}/complete": _PROVIDER,
    "POST /api/v1/service-request/complete": _PROVIDER,
    "GET /api/v1/leads/open": _PROVIDER,
    "GET /api/v1/leads": _PROVIDER,
    "GET /api/v1/leads/reported": _STAFF,
    "POST /api/v1/leads/{lead_id}/report": _PROVIDER,
    "POST /api/v1/leads/{lead_id}/accept-report": _STAFF,
    "POST /api/v1/leads/{lead_id}/refuse-report": _STAFF,
    "PATCH /api/v1/me/provider": _PROVIDER,
    "PUT /api/v1/me/provider/services": _PROVIDER,
    "POST /api/v1/work-orders/{work_order_id}/resolve": _SUPPORT,
    "POST /api/v1/work-orders/{work_order_id}/override": _ADMIN,
    "POST /api/v1/advertised-services": _ADVERTISER,
    "PUT /api/v1/advertised-services/{advertised_service_id}": _ADVERTISER,
    "POST /api/v1/advertised-services/{advertised_service_id}/pause": _ADVERTISER,
    "POST /api/v1/advertised-services/{advertised_service_id}/resume": _ADVERTISER,
    "POST /api/v1/advertised-services/{advertised_service_id}/archive": _ADVERTISER,
    "POST /api/v1/teams": _ADVERTISER,
    "PATCH /api/v1/teams/{team_id}": _ADVERTISER,
    "POST /api/v1/teams/{team_id}/invitations": _ADVERTISER,
    "POST /api/v1/team-memberships/{membership_id}/accept": _ADVERTISER,
    "GET /api/v1/applications": _REVIEWER,
    "POST /api/v1/applications/{provider_id}/approve": _REVIEWER,
    "POST /api/v1/applications/{provider_id}/reject": _REVIEWER,
    "POST /api/v1/providers/{provider_id}/suspend": _REVIEWER,
    "POST /api/v1/providers/{provider_id}/reinstate": _REVIEWER,
    "POST /api/v1/providers/{provider_id}/ban": _ADMIN,
    "GET /api/v1/role-applications": _SUPPORT,
    "POST /api/v1/role-applications/{application_id}/approve": _SUPPORT,
    "POST /api/v1/role-applications/{application_id}/reject": _SUPPORT,
    "POST /api/v1/role-applications/{application_id}/revoke": _ADMIN,
    "POST /api/v1/role-applications/{application_id}/readmit": _SUPPORT,
    "GET /api/v1/admin/service-requests": _STAFF,
    "GET /api/v1/admin/work-orders": _SUPPORT,
    "GET /api/v1/admin/work-orders/statistics": _ADMIN,
    "GET /api/v1/admin/conversations": _STAFF,
    "POST /api/v1/admin/conversations/{conversation_id}/join": _STAFF,
    "GET /api/v1/admin/message-reports": _STAFF,
    "GET /api/v1/admin/message-reports/{report_id}": _STAFF,
    "POST /api/v1/admin/message-reports/{report_id}/dismiss": _STAFF,
    "POST /api/v1/admin/message-reports/{report_id}/uphold": _STAFF,
    "GET /api/v1/admin/payments": _ADMIN,
    "POST /api/v1/admin/payments/{payment_id}/accept": _ADMIN,
    "POST /api/v1/admin/payments/{payment_id}/refunds": _ADMIN,
    "GET /api/v1/admin/payout-profiles": _SUPPORT,
    "POST /api/v1/admin/payout-profiles/{user_id}/verify": _ADMIN,
    "POST /api/v1/admin/payout-profiles/{user_id}/reject": _ADMIN,
    "POST /api/v1/admin/payout-profiles/{user_id}/restrict": _ADMIN,
    "GET /api/v1/admin/payouts": _SUPPORT,
    "POST /api/v1/admin/payouts/{payout_id}/send": _ADMIN,
    "POST /api/v1/admin/payouts/{payout_id}/fail": _ADMIN,
    "POST /api/v1/admin/payouts/{payout_id}/return": _ADMIN,
    "GET /api/v1/admin/invoices": _SUPPORT,
    "POST /api/v1/admin/users/{user_id}/suspend": _ADMIN,
    "POST /api/v1/admin/users/{user_id}/reinstate": _ADMIN,
    "POST /api/v1/admin/users/{user_id}/ban": _ADMIN,
    "POST /api/v1/admin/users/{user_id}/appoint-support": _ADMIN,
    "POST /api/v1/admin/users/{user_id}/dismiss-support": _ADMIN,
    "POST /api/v1/admin/users/{user_id}/top-ups": _ADMIN,
    "POST /api/v1/admin/regions": _ADMIN,
    "POST /api/v1/admin/regions/{region_id}/managers": _ADMIN,
}
"""Operations for some roles only; all others are told which."""

OVERSEERS: Final = {
    "request_id": _SUPPORT,
    "lead_id": _SUPPORT,
    "work_order_id": _SUPPORT,
    "conversation_id": _SUPPORT,
    "report_id": _SUPPORT,
    "payment_id": _SUPPORT,
    "payout_id": _SUPPORT,
    "invoice_id": _SUPPORT,
    "application_id": _SUPPORT,
    "provider_id": _ADMIN,
    "user_id": _ADMIN,
    "region_id": _ADMIN,
    "file_id": _ADMIN,
}
"""Who sees things of this kind that are not theirs, by the path's parameter; to all others they are not there.

A manager oversees the own region alone, and the one in this matrix has none."""

NOT_OVERSEEN: Final = {
    "PUT /api/v1/conversations/{conversation_id}/read",
    "PUT /api/v1/me/blocks/{user_id}",
    "DELETE /api/v1/me/blocks/{user_id}",
}
"""Nobody's business but that of those who take part."""

OF_ALL: Final = {
    "POST /api/v1/auth/register",
    "POST /api/v1/auth/verify",
    "POST /api/v1/auth/codes",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/password-reset",
    "POST /api/v1/auth/password-reset/confirm",
    "GET /auth/providers/",
    "GET /api/v1/push/key",
    "GET /api/v1/files/{file_id}/content",
    "GET /api/v1/files/{file_id}/thumbnail",
    "GET /api/v1/categories",
    "GET /api/v1/services",
    "GET /api/v1/regions",
    "GET /api/v1/providers",
    "GET /api/v1/advertised-services",
    "GET /api/v1/advertised-services/{advertised_service_id}",
    "GET /api/v1/lifecycles",
    "GET /api/v1/dev/messages",
    "GET /problems/{code}",
    "GET /healthz",
    "GET /readyz",
    "POST /webhooks/{provider}",
}
"""For strangers too."""

CLOSED: Final = [operation for operation in OPERATIONS if operation.label not in OF_ALL]


@pytest.fixture(scope="module")
async def outsiders(world: World) -> Mapping[Role, Person]:
    """Somebody of each role who has to do with nothing on the stage."""
    return {role: await world.person(role) for role in Role}


def denial(operation: Operation, role: Role) -> tuple[int, str] | None:
    """How somebody of that role is refused, if they are."""
    if role not in ROLES_OF.get(operation.label, Role):
        return 403, "role_required"
    overseers = [OVERSEERS.get(name, _NOBODY) for name in operation.parameters("path")]
    if operation.label in NOT_OVERSEEN or any(role not in each for each in overseers):
        return 404, "not_found"
    return None


def test_strangers_may_do_what_the_document_says() -> None:
    documented = {operation.label for operation in OPERATIONS if "security" not in operation.declared}
    assert documented == OF_ALL


def test_the_matrix_names_operations_that_exist() -> None:
    assert ROLES_OF.keys() | NOT_OVERSEEN | OF_ALL <= {operation.label for operation in OPERATIONS}


async def test_strangers_are_asked_to_sign_in(http: httpx.AsyncClient, world: World, scene: Stage) -> None:
    async with world.unchanged():
        answers = await at_once(
            http.request(operation.method, operation.url(scene.ids), json=payload(operation, scene))
            for operation in CLOSED
        )
    assert told(CLOSED, answers) == {operation.label: (401, "unauthenticated") for operation in CLOSED}


@pytest.mark.parametrize("role", list(Role))
async def test_outsiders_reach_nothing_that_is_not_for_their_role(
    world: World, scene: Stage, outsiders: Mapping[Role, Person], role: Role
) -> None:
    denied = [operation for operation in CLOSED if denial(operation, role)]
    async with world.unchanged():
        answers = await at_once(
            outsiders[role].call(operation.method, operation.url(scene.ids), json=payload(operation, scene))
            for operation in denied
        )
    assert told(denied, answers) == {operation.label: denial(operation, role) for operation in denied}
    for operation, answer in zip(denied, answers, strict=True):
        if answer.status_code == httpx.codes.FORBIDDEN:
            assert answer.json()["roles"] == sorted(ROLES_OF[operation.label]), operation.label


@pytest.mark.parametrize("role", list(Role))
async def test_what_is_for_a_role_lets_it_through(world: World, outsiders: Mapping[Role, Person], role: Role) -> None:
    # What does not exist, or a body that does not fit, so that nothing is decided.
    allowed = [operation for operation in CLOSED if role in ROLES_OF.get(operation.label, _NOBODY)]
    async with world.unchanged():
        answers = await at_once(
            outsiders[role].call(operation.method, operation.url(_Nothing()), json={"nonsense": True})
            for operation in allowed
        )
    passed = {operation.label: answer.status_code for operation, answer in zip(allowed, answers, strict=True)}
    assert {label: status for label, status in passed.items() if status not in (200, 404, 422)} == {}


class _Nothing(dict[str, list[str]]):
    """Of each kind, a thing that does not exist."""

    def __missing__(self, kind: str) -> list[str]:
        return [str(UUID(int=1))]


def payload(operation: Operation, scene: Stage) -> Any:
    """One that fits, about things that exist."""
    return sample(operation.body, scene.body | {"team_id": None}) if operation.body else None


def told(operations: Sequence[Operation], answers: Sequence[httpx.Response]) -> dict[str, tuple[int, str | None]]:
    """The status and the code of each answer, by the operation."""
    return {
        operation.label: (answer.status_code, answer.json().get("code"))
        for operation, answer in zip(operations, answers, strict=True)
    }
