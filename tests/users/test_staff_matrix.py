"""Every staff route × every role: who may not, is told so and leaves nothing behind."""

import re
from typing import Any
from uuid import UUID

import pytest
from fastapi.routing import APIRoute

from app.main import create_app
from app.models.users import Role
from app.routers import providers
from tests.support.world import HERE, Person, World

REASON = {"reason": "For the test."}
NOTHING = UUID(int=1)
ADMIN = frozenset({Role.ADMIN})
REVIEWER = frozenset({Role.ADMIN, Role.MANAGER})
SUPPORT = frozenset({Role.ADMIN, Role.SUPPORT})
STAFF = frozenset({Role.ADMIN, Role.MANAGER, Role.SUPPORT})

# Route, who may take it, and a body that would have an effect.
ROUTES: dict[tuple[str, str], tuple[frozenset[Role], Any]] = {
    ("GET", "/api/v1/admin/service-requests"): (STAFF, None),
    ("POST", "/api/v1/admin/users/{user_id}/suspend"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/users/{user_id}/reinstate"): (ADMIN, None),
    ("POST", "/api/v1/admin/users/{user_id}/ban"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/users/{user_id}/appoint-support"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/users/{user_id}/dismiss-support"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/users/{user_id}/top-ups"): (ADMIN, {"amount_minor": 100, "reason": "cash"}),
    ("POST", "/api/v1/admin/regions"): (
        ADMIN,
        {"code": "matrix-town", "name": "Matrix", "zipcodes": ["411001"], "centre": HERE.model_dump()},
    ),
    ("POST", "/api/v1/admin/regions/{region_id}/managers"): (ADMIN, {"user_id": "{user_id}"}),
    ("GET", "/api/v1/admin/payments"): (ADMIN, None),
    ("POST", "/api/v1/admin/payments/{object_id}/accept"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/payments/{object_id}/refunds"): (ADMIN, REASON),
    ("GET", "/api/v1/admin/payout-profiles"): (SUPPORT, None),
    ("POST", "/api/v1/admin/payout-profiles/{user_id}/verify"): (ADMIN, {"revision": 1}),
    ("POST", "/api/v1/admin/payout-profiles/{user_id}/reject"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/payout-profiles/{user_id}/restrict"): (ADMIN, REASON),
    ("GET", "/api/v1/admin/payouts"): (SUPPORT, None),
    ("POST", "/api/v1/admin/payouts/{object_id}/send"): (ADMIN, {"reference": "UTR-1"}),
    ("POST", "/api/v1/admin/payouts/{object_id}/fail"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/payouts/{object_id}/return"): (ADMIN, REASON),
    ("GET", "/api/v1/admin/invoices"): (SUPPORT, None),
    ("GET", "/api/v1/admin/conversations"): (STAFF, None),
    ("POST", "/api/v1/admin/conversations/{object_id}/join"): (STAFF, None),
    ("GET", "/api/v1/admin/message-reports"): (STAFF, None),
    ("GET", "/api/v1/admin/message-reports/{object_id}"): (STAFF, None),
    ("POST", "/api/v1/admin/message-reports/{object_id}/dismiss"): (STAFF, REASON),
    ("POST", "/api/v1/admin/message-reports/{object_id}/uphold"): (STAFF, REASON),
    ("GET", "/api/v1/admin/work-orders"): (SUPPORT, None),
    ("GET", "/api/v1/admin/work-orders/statistics"): (ADMIN, None),
    ("GET", "/api/v1/applications"): (REVIEWER, None),
    ("POST", "/api/v1/applications/{provider_id}/approve"): (REVIEWER, None),
    ("POST", "/api/v1/applications/{provider_id}/reject"): (REVIEWER, REASON),
    ("GET", "/api/v1/role-applications"): (SUPPORT, None),
    ("POST", "/api/v1/role-applications/{object_id}/approve"): (SUPPORT, None),
    ("POST", "/api/v1/role-applications/{object_id}/reject"): (SUPPORT, REASON),
    ("POST", "/api/v1/role-applications/{object_id}/revoke"): (ADMIN, REASON),
    ("POST", "/api/v1/role-applications/{object_id}/readmit"): (SUPPORT, REASON),
    ("POST", "/api/v1/providers/{provider_id}/suspend"): (REVIEWER, REASON),
    ("POST", "/api/v1/providers/{provider_id}/reinstate"): (REVIEWER, None),
    ("POST", "/api/v1/providers/{provider_id}/ban"): (ADMIN, REASON),
}
PUBLIC = {("GET", "/api/v1/providers")}


def path_of(route: tuple[str, str], **ids: UUID) -> str:
    """The route's path; what it is about and nobody knows is nothing at all."""
    return route[1].format_map(dict.fromkeys(("user_id", "provider_id", "region_id", "object_id"), NOTHING) | ids)


class Cast:
    """A person of every role, and those whom the routes are about."""

    def __init__(self) -> None:
        self.people: dict[Role | None, Person] = {}
        self.target: UUID
        self.pending: UUID
        self.region_id: UUID

    def path(self, route: tuple[str, str]) -> str:
        return path_of(route, user_id=self.target, provider_id=self.pending, region_id=self.region_id)

    def body(self, route: tuple[str, str]) -> Any:
        body = ROUTES[route][1]
        if isinstance(body, dict) and body.get("user_id"):
            return {"user_id": str(self.target)}
        return body


@pytest.fixture(scope="module")
async def cast(world: World) -> Cast:
    made = Cast()
    for role in Role:
        made.people[role] = await world.person(role)
    made.target = (await world.person()).id
    made.pending = (await world.provider(approved=False, funds_minor=0)).id
    made.region_id = world.region_id
    return made


def routes_of(module: Any) -> set[tuple[str, str]]:
    return {
        (method, route.path)
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


def test_the_matrix_knows_every_staff_route() -> None:
    documented = create_app().openapi()["paths"]
    below = {
        (method.upper(), re.sub("{(payment|payout|application|conversation|report)_id}", "{object_id}", path))
        for path, methods in documented.items()
        if path.startswith(("/api/v1/admin/", "/api/v1/applications", "/api/v1/role-applications"))
        for method in methods
    }
    assert below | routes_of(providers) == ROUTES.keys() | PUBLIC


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("route", list(ROUTES), ids=" ".join)
async def test_only_the_roles_of_a_route_may_take_it(
    world: World, cast: Cast, route: tuple[str, str], role: Role
) -> None:
    allowed, _ = ROUTES[route]
    method, path, body = route[0], cast.path(route), cast.body(route)
    if role in allowed:
        # An unknown person or a body that does not fit, so that the matrix decides about nobody: it is let through.
        answer = await cast.people[role].call(method, path_of(route), json={"nonsense": True})
        assert answer.status_code in {200, 404, 422}
        return
    async with world.unchanged():
        answer = await cast.people[role].call(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")
    assert answer.json()["roles"] == sorted(allowed)


@pytest.mark.parametrize("route", list(ROUTES), ids=" ".join)
async def test_strangers_are_asked_to_sign_in(world: World, cast: Cast, route: tuple[str, str]) -> None:
    async with world.unchanged():
        answer = await world.http.request(route[0], cast.path(route), json=cast.body(route))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("route", [route for route in ROUTES if "{provider_id}" in route[1]], ids=" ".join)
async def test_a_manager_of_another_region_sees_no_provider_there(
    world: World, cast: Cast, route: tuple[str, str]
) -> None:
    may_act_elsewhere = Role.MANAGER in ROUTES[route][0]
    expected = (404, "not_found") if may_act_elsewhere else (403, "role_required")
    async with world.unchanged():
        answer = await cast.people[Role.MANAGER].call(route[0], cast.path(route), json=cast.body(route))
    assert (answer.status_code, answer.json()["code"]) == expected


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/api/v1/me/provider", {"bio": "x"}),
        ("PUT", "/api/v1/me/provider/services", {"service_ids": [str(UUID(int=1))]}),
    ],
)
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PROVIDER])
async def test_only_providers_change_a_provider_profile(
    world: World, cast: Cast, role: Role, method: str, path: str, body: Any
) -> None:
    async with world.unchanged():
        answer = await cast.people[role].call(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")
