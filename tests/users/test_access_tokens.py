"""Access tokens over HTTP: what is not signed by us for a session of ours opens nothing."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from typing import Any
from uuid import UUID, uuid4

import pytest
from jose import jwt
from pydantic import SecretStr

from app.core.config import DEVELOPMENT_SECRET, Settings
from app.core.security import AccessTokens, Keys
from tests.support.world import Person, World
from tests.users.steps import elsewhere, eventually, instance, is_signed_in

NEW_KEY = SecretStr("the key of this year, long enough for HS256")


def part(content: Any) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def claims_of(person: Person) -> dict[str, Any]:
    return dict(jwt.get_unverified_claims(person.access_token))


def signed(world: World, person: Person, **changed: Any) -> str:
    """A token with our own signature and the person's claims but for the changes; None leaves one out."""
    key = Keys(world.platform.settings).derived("access-token")[0].hex()
    claims = {name: value for name, value in (claims_of(person) | changed).items() if value is not None}
    return jwt.encode(claims, key, "HS256", headers={"kid": jwt.get_unverified_header(person.access_token)["kid"]})


async def status_with(world: World, authorization: str | bytes) -> int:
    answer = await world.http.get("/api/v1/me", headers=[(b"Authorization", _bytes(authorization))])
    if answer.status_code == 401:
        assert answer.json()["code"] == "unauthenticated"
        assert answer.headers["www-authenticate"] == "Bearer"
    return answer.status_code


def _bytes(header: str | bytes) -> bytes:
    return header if isinstance(header, bytes) else header.encode()


async def test_the_signer_of_these_tests_can_sign(world: World) -> None:
    # Otherwise the refusals below would prove nothing.
    person = await world.person()
    assert await status_with(world, f"Bearer {signed(world, person)}") == 200


async def test_the_scheme_is_read_in_any_case(world: World) -> None:
    person = await world.person()
    assert await status_with(world, f"bearer {person.access_token}") == 200
    assert await status_with(world, f"BEARER {person.access_token}") == 200


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Basic YTpi", "Bearer null", "Bearer a.b.c", b"Bearer \xff\xfe", "Token x", "Bearer  x"],
)
async def test_what_is_no_token_opens_nothing(world: World, authorization: str | bytes) -> None:
    assert await status_with(world, authorization) == 401


async def test_a_token_without_signature_opens_nothing(world: World) -> None:
    person = await world.person()
    header = jwt.get_unverified_header(person.access_token)
    signature = person.access_token.split(".")[2]
    for algorithm in ("none", "None", "NONE", "nOnE"):
        unsigned = f"{part(header | {'alg': algorithm})}.{part(claims_of(person))}"
        assert await status_with(world, f"Bearer {unsigned}.") == 401
        assert await status_with(world, f"Bearer {unsigned}.{signature}") == 401


async def test_a_changed_token_opens_nothing(world: World) -> None:
    # Given a customer who would like to be the admin
    person = await world.person()
    head, _, signature = person.access_token.split(".")
    body = part(claims_of(person) | {"sub": str(world.admin.id), "roles": ["admin"]})
    assert await status_with(world, f"Bearer {head}.{body}.{signature}") == 401


async def test_roles_are_those_of_the_database_whatever_the_token_says(world: World) -> None:
    # Given even a rightly signed token that claims too much
    person = await world.person()
    grand = elsewhere(person, world.http)
    grand.access_token = signed(world, person, roles=["admin"])
    async with world.unchanged():
        answer = await grand.post(f"/api/v1/admin/users/{world.support.id}/suspend", {"reason": "Because."})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


@pytest.mark.parametrize("claim", ["aud", "iss", "exp", "sub", "sid", "jti"])
async def test_a_token_without_one_of_its_claims_opens_nothing(world: World, claim: str) -> None:
    person = await world.person()
    assert await status_with(world, f"Bearer {signed(world, person, **{claim: None})}") == 401


async def test_an_expired_token_opens_nothing(world: World) -> None:
    person = await world.person()
    assert await status_with(world, f"Bearer {signed(world, person, exp=int(time.time()) - 1)}") == 401


async def test_a_token_expires_while_it_is_in_use(configured: Settings, world: World) -> None:
    # Given an instance whose tokens live for a second
    person = await world.person()
    async with instance(configured, access_token_seconds=1) as other:
        answer = await other.http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
        short = elsewhere(person, other.http)
        short.access_token = answer.json()["access_token"]

        # When it was good before, then it is refused soon
        async def refused() -> bool:
            return not await is_signed_in(short)

        await eventually(refused, within=3)


async def test_a_session_speaks_for_its_own_user_only(world: World) -> None:
    person, victim = await world.person(), await world.person()
    assert await status_with(world, f"Bearer {signed(world, person, sub=str(victim.id))}") == 401
    assert await status_with(world, f"Bearer {signed(world, person, sid=claims_of(victim)['sid'])}") == 401
    # And not after the right pair was seen either
    assert await is_signed_in(person)
    assert await status_with(world, f"Bearer {signed(world, person, sub=str(victim.id))}") == 401


async def test_a_session_that_never_was_opens_nothing(world: World) -> None:
    person = await world.person()
    assert await status_with(world, f"Bearer {signed(world, person, sid=str(uuid4()))}") == 401


async def test_a_token_of_another_key_opens_nothing(world: World) -> None:
    person = await world.person()
    settings = world.platform.settings.model_copy(update={"secret_keys": (NEW_KEY,)})
    foreign = AccessTokens(settings, Keys(settings))
    claims = claims_of(person)
    token = foreign.issue(UUID(claims["sub"]), UUID(claims["sid"]), ["customer"])
    assert await status_with(world, f"Bearer {token}") == 401
    # And not with our key's name on it either
    header = part(jwt.get_unverified_header(token) | {"kid": jwt.get_unverified_header(person.access_token)["kid"]})
    assert await status_with(world, f"Bearer {header}.{'.'.join(token.split('.')[1:])}") == 401


async def test_keys_are_rotated_without_signing_anybody_out(configured: Settings, world: World) -> None:
    # Given somebody signed in from before the rotation
    person = await world.person()
    async with instance(configured, secret_keys=(NEW_KEY, SecretStr(DEVELOPMENT_SECRET))) as rotated:
        # When an instance has the new key in front, then the old token is good there
        assert await is_signed_in(elsewhere(person, rotated.http))
        # And what it issues is signed with the new one, which instances without it refuse
        answer = await rotated.http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
        renewed = elsewhere(person, rotated.http)
        renewed.access_token = answer.json()["access_token"]
        assert await is_signed_in(renewed)
        assert not await is_signed_in(elsewhere(renewed, world.http))
    async with instance(configured, secret_keys=(NEW_KEY,)) as finished:
        # And when the old key is taken out, only the new token is
        assert await is_signed_in(elsewhere(renewed, finished.http))
        assert not await is_signed_in(elsewhere(person, finished.http))


async def test_many_requests_of_one_session_at_once_are_all_let_in(world: World) -> None:
    person = await world.person()
    assert set(await asyncio.gather(*(is_signed_in(person) for _ in range(20)))) == {True}
