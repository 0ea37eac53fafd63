"""Devices for web push: browsers that may be told, and addresses that nobody makes the server ask."""

import asyncio
import os
from base64 import urlsafe_b64encode
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.notifications.conftest import DEVICES, DEVICES_PER_USER, Pushing
from tests.support.fake_push import encoded
from tests.support.world import Person, World

FCM = "https://fcm.googleapis.com/fcm/send/"


async def devices(pushing: Pushing, person: Person) -> list[dict[str, Any]]:
    answer = await pushing.app.seen_by(person).get(DEVICES)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()
    return listed


async def try_to_register(pushing: Pushing, person: Person, **changed: Any) -> httpx.Response:
    subscription = pushing.browser().subscription | changed
    return await pushing.app.seen_by(person).post(DEVICES, subscription)


async def signed_in_again(world: World, person: Person) -> Person:
    """The same account in another session."""
    tokens = await world.http.post(
        "/api/v1/auth/login", json={"email": person.email, "password": "correct horse battery 7"}
    )
    other = Person.__new__(Person)
    other.__dict__ = person.__dict__ | {"access_token": tokens.json()["access_token"]}
    return other


async def test_a_browser_subscribes_with_our_key_and_is_registered_and_removed(world: World, pushing: Pushing) -> None:
    # Given the key, which anybody may know
    key = (await pushing.app.http.get("/api/v1/push/key")).json()["public_key"]
    assert key == pushing.platform.push.public_key
    person, stranger = await world.person(), await world.person()
    # When a browser is registered, twice
    browser, device_id = await pushing.register(person)
    assert await pushing.register(person, browser) == (browser, device_id)
    # Then it is listed once, without the address that lets somebody send to it, and a stranger does not see it
    [device] = await devices(pushing, person)
    assert (device["id"], device["current"], device["service"]) == (device_id, True, pushing.url.split("//")[1])
    assert browser.endpoint not in str(device)
    assert await devices(pushing, stranger) == []
    # And only its owner removes it
    async with world.unchanged():
        refused = await pushing.app.seen_by(stranger).call("DELETE", f"{DEVICES}/{device_id}")
        assert refused.status_code == 404
    mine = pushing.app.seen_by(person)
    assert (await mine.call("DELETE", f"{DEVICES}/{device_id}")).status_code == 200
    assert (await mine.call("DELETE", f"{DEVICES}/{device_id}")).status_code == 404
    assert await devices(pushing, person) == []


async def test_a_browser_in_which_somebody_else_signs_in_is_theirs_from_then_on(world: World, pushing: Pushing) -> None:
    first, second = await world.person(), await world.person()
    browser, _ = await pushing.register(first)
    await pushing.register(second, browser)
    assert await devices(pushing, first) == []
    assert len(await devices(pushing, second)) == 1
    assert len(await world.rows("push_devices", endpoint=browser.endpoint)) == 1


async def test_a_device_ends_with_its_session_and_no_other(world: World, pushing: Pushing) -> None:
    # Given two sessions of one account with a device each
    person = await world.person()
    other = await signed_in_again(world, person)
    _, ended = await pushing.register(person)
    _, stays = await pushing.register(other)
    assert {(device["id"], device["current"]) for device in await devices(pushing, other)} == {
        (ended, False),
        (stays, True),
    }
    # When one logs out
    assert (await person.post("/api/v1/auth/logout")).status_code == 200
    # Then
    assert [device["id"] for device in await devices(pushing, other)] == [stays]


async def test_devices_are_bounded_also_when_they_come_at_once(world: World, pushing: Pushing) -> None:
    person = await world.person()
    answers = await asyncio.gather(*(try_to_register(pushing, person) for _ in range(DEVICES_PER_USER + 5)))
    assert sorted(answer.status_code for answer in answers) == [201] * DEVICES_PER_USER + [409] * 5
    assert {answer.json().get("code") for answer in answers if answer.is_error} == {"too_many_devices"}
    assert len(await devices(pushing, person)) == DEVICES_PER_USER
    # one that is registered may come again, and one that is removed makes room
    known = await world.rows("push_devices", user_id=person.id)
    again = await try_to_register(pushing, person, endpoint=known[0]["endpoint"])
    assert again.status_code == 201
    await pushing.app.seen_by(person).call("DELETE", f"{DEVICES}/{known[0]['id']}")
    assert (await try_to_register(pushing, person)).status_code == 201


@pytest.mark.parametrize(
    "endpoint",
    [
        FCM + "dHJ1c3Q:APA91bH-_x",
        "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAC%2fx%3d%3d",
        "https://fcm.googleapis.com/wp/abc@def",
    ],
)
async def test_addresses_of_known_push_services_are_taken(world: World, pushing: Pushing, endpoint: str) -> None:
    answer = await try_to_register(pushing, await world.person(), endpoint=endpoint + str(uuid4()))
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/fcm/send/x",
        "ftp://fcm.googleapis.com/x",
        "//fcm.googleapis.com/x",
        "fcm.googleapis.com/x",
        "https://fcm.googleapis.com",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com:443/x",
        "https://user@fcm.googleapis.com/x",
        "https://user:password@fcm.googleapis.com/x",
        "https://fcm.googleapis.com@127.0.0.1/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://localhost/x",
        "https://metadata.google.internal/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evil-notify.windows.com/x",
        "https://notify.windows.com/x",
        "https://.notify.windows.com/x",
        "https://a..notify.windows.com/x",
        f"https://{'a' * 64}.notify.windows.com/x",
        "https://fcm.googleapis.com./x",
        "https://FCM.GOOGLEAPIS.COM/x",
        "https://ｆcm.googleapis.com/x",
        "https://fcm。googleapis。com/x",
        "https://fcm.googleapis.com\\@127.0.0.1/x",
        "https://fcm.googleapis.com#@127.0.0.1/x",
        "https://fcm.googleapis.com?@127.0.0.1/x",
        "https://127.0.0.1/#fcm.googleapis.com/x",
        "https://xn--fcm-googleapis-com.example/x",
        "https://fcm.googleapis.com/x y",
        "https://fcm.googleapis.com/x\r\nHost: evil",
        "https://fcm.googleapis.com/x#fragment",
        " https://fcm.googleapis.com/x",
        FCM + "x" * 2000,
        "",
    ],
)
async def test_no_other_address_is_taken(world: World, pushing: Pushing, endpoint: str) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await try_to_register(pushing, person, endpoint=endpoint)
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in {"endpoint_refused", "validation_failed"}


async def test_the_loopback_is_asked_only_where_the_settings_say_so(world: World, pushing: Pushing) -> None:
    person = await world.person()
    answer = await person.post(DEVICES, pushing.browser().subscription)  # to an application without that setting
    assert (answer.status_code, answer.json()["code"]) == (422, "endpoint_refused")


def _point(curve: ec.EllipticCurve, form: PublicFormat) -> str:
    return encoded(ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, form))


@pytest.mark.parametrize(
    "keys",
    [
        {"p256dh": encoded(b"\x04" + bytes(64))},  # not on the curve
        {"p256dh": encoded(b"\x04" + os.urandom(64))},
        {"p256dh": _point(ec.SECP256R1(), PublicFormat.CompressedPoint)},
        {"p256dh": _point(ec.SECP384R1(), PublicFormat.UncompressedPoint)},
        {"p256dh": urlsafe_b64encode(b"\x04" + b"\xff" * 64).decode().replace("_", "/")},
        {"p256dh": ""},
        {"auth": encoded(os.urandom(15))},
        {"auth": encoded(os.urandom(17))},
        {"auth": "!" * 22},
    ],
)
async def test_keys_that_nothing_could_be_encrypted_for_are_refused(
    world: World, pushing: Pushing, keys: dict[str, str]
) -> None:
    person = await world.person()
    right: dict[str, str] = pushing.browser().subscription["keys"]
    async with world.unchanged():
        answer = await try_to_register(pushing, person, keys=right | keys)
        assert answer.status_code == 422, answer.text


async def test_devices_need_a_session(pushing: Pushing) -> None:
    http = pushing.app.http
    assert (await http.get(DEVICES)).status_code == 401
    assert (await http.post(DEVICES, json=pushing.browser().subscription)).status_code == 401
    assert (await http.delete(f"{DEVICES}/{uuid4()}")).status_code == 401
