"""Steps that tests of applications for roles share."""

from typing import Any

import httpx

from tests.support.world import Person

APPLY = "/api/v1/me/applications"
QUEUE = "/api/v1/role-applications"
WHY = {"reason": "The licence has expired."}


def form(role: str = "booster", **changed: Any) -> dict[str, Any]:
    return {"role": role, "statement": "Ten years of it."} | changed


async def applied(person: Person, role: str = "booster") -> str:
    """Has applied; the application's id."""
    answer = await person.post(APPLY, form(role))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def decide(staff: Person, application_id: str, action: str) -> httpx.Response:
    body = None if action == "approve" else WHY
    return await staff.post(f"{QUEUE}/{application_id}/{action}", body)


async def roles_of(person: Person) -> list[str]:
    return list((await person.get("/api/v1/me")).json()["roles"])
