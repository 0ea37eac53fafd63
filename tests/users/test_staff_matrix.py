"""Every staff route × every role: who may not, is told so and leaves nothing behind."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.routing import APIRoute

from app.main import create_app
from app.models.users import Role
from app.routers import providers, staff
from tests.support.world import HERE, Person, World

REASON = {"reason": "For the test."}
ADMIN = frozenset({Role.ADMIN})
REVIEWER = frozenset({Role.ADMIN, Role.MANAGER})
STAFF = frozenset({Role.ADMIN, Role.MANAGER, Role.SUPPORT})

# Route, who may take it, and a body that would have an effect.
ROUTES: dict[tuple[str, str], tuple[frozenset[Role], Any]] = {
    ("GET", "/api/v1/admin/service-requests"): (STAFF, None),
    ("POST", "/api/v1/admin/users/{user_id}/suspend"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/users/{user_id}/reinstate"): (ADMIN, None),
    ("POST", "/api/v1/admin/users/{user_id}/ban"): (ADMIN, REASON),
    ("POST", "/api/v1/admin/users/{user_id}/top-ups"): (ADMIN, {"amount_minor": 100, "reason": "cash"}),
    ("POST", "/api/v1/admin/regions"): (
        ADMIN,
        {"code": "matrix-town", "name": "Matrix", "zipcodes": ["411001"], "centre": HERE.model_dump()},
    ),
    ("POST", "/api/v1/admin/regions/{region_id}/managers"): (ADMIN, {"user_id": "{user_id}"}),
    ("GET", "/api/v1/applications"): (REVIEWER, None),
    ("POST", "/api/v1/applications/{provider_id}/approve"): (REVIEWER, None),
    ("POST", "/api/v1/applications/{provider_id}/reject"): (REVIEWER, REASON),
    ("POST", "/api/v1/providers/{provider_id}/suspend"): (REVIEWER, REASON),
    ("POST", "/api/v1/providers/{provider_id}/reinstate"): (REVIEWER, None),
    ("POST", "/api/v1/providers/{provider_id}/ban"): (ADMIN, REASON),
}
PUBLIC = {("GET", "/api/v1/providers")}


class Cast:
    """A person of every role, and those whom the routes are about."""

    def __init__(self) -> None:
        self.people: dict[Role | None, Person] = {}
        self.target: UUID
        self.pending: UUID
        self.region_id: UUID

    def path(self, route: tuple[str, str]) -> str:
        return route[1].format(user_id=self.target, provider_id=self.pending, region_id=self.region_id)

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
    assert routes_of(staff) | routes_of(providers) == ROUTES.keys() | PUBLIC
    # And no other router has one below the staff's paths
    documented = create_app().openapi()["paths"]
    below = {path for path in documented if path.startswith(("/api/v1/admin/", "/api/v1/applications"))}
    assert below <= {path for _, path in ROUTES}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("route", list(ROUTES), ids=" ".join)
async def test_only_the_roles_of_a_route_may_take_it(
    world: World, cast: Cast, route: tuple[str, str], role: Role
) -> None:
    allowed, _ = ROUTES[route]
    method, path, body = route[0], cast.path(route), cast.body(route)
    if role in allowed:
        # An unknown person or a body that does not fit, so that the matrix decides about nobody: it is let through.
        path = route[1].format(user_id=UUID(int=1), provider_id=UUID(int=1), region_id=UUID(int=1))
        answer = await cast.people[role].call(method, path, json={"nonsense": True})
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
