"""JSON, queries, headers and paths that no client of ours would send: refused with a stable code, nothing changed."""

import json
from collections.abc import Awaitable

import httpx
import pytest

from app.models.users import Role
from app.services.users import accounts
from tests.api_keys.test_api_keys import made
from tests.contract.operations import OPERATIONS, TAKING_JSON, Operation, at_once, sample, with_each_leaf
from tests.contract.refusals import refused
from tests.contract.stage import Stage
from tests.support.world import Person, World

JSON = {"Content-Type": "application/json"}
LONE_SURROGATE = "\ud800"

BODIES = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "number": b"5",
    "true": b"true",
    "truncated": b'{"reason": "x',
    "unbalanced": b"{]",
    "trailing": b'{"reason": "x"}{"reason": "x"}',
    "comment": b'{/**/"reason": "x"}',
    "not UTF-8": b'{"reason": "\xff\xfe"}',
    "overlong UTF-8": b'{"reason": "\xc0\x80"}',
    "UTF-8 of a surrogate": b'{"reason": "\xed\xa0\x80"}',
    "UTF-16": '{"unknown": "x"}'.encode("utf-16"),
    "UTF-32": '{"unknown": "x"}'.encode("utf-32-be"),
    "byte order mark": b'\xef\xbb\xbf{"unknown": "x"}',
    "NUL bytes": b"\x00" * 100,
    "raw NUL in text": b'{"reason": "\x00"}',
    "deep lists": b"[" * 30_000,
    "deep lists, closed": b"[" * 30_000 + b"]" * 30_000,
    "deep objects": b'{"a":' * 12_000,
    "deep objects, closed": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "5000 digits": b'{"reason": ' + b"9" * 5_000 + b"}",
    "large exponent": b'{"reason": 1e400}',
    "huge exponent": b'{"reason": 1e99999999999999999999}',
    "not a number": b'{"reason": NaN}',
    "infinity": b'{"reason": -Infinity}',
    "unknown field": b'{"__proto__": {}, "constructor": 1}',
    "unknown field twice": b'{"unknown": 1, "unknown": 2}',
    "surrogate as a name": b'{"\\ud800": 1}',
    "empty name": b'{"": 1}',
    "form": b"reason=x",
}


@pytest.fixture(scope="module")
async def jack(world: World) -> Person:
    """Holds every role, so that nothing hostile is turned away before it has been looked at."""
    person = await world.provider()
    async with world.platform.database.write() as session:
        for role in Role:
            await accounts.grant(session, person.id, role)
    return person


def sent(person: Person, operation: Operation, scene: Stage, content: bytes) -> Awaitable[httpx.Response]:
    return person.call(operation.method, operation.url(scene.ids), content=content, headers=JSON)


async def test_samples_are_in_shape(jack: Person, scene: Stage) -> None:
    # given a payload made from its schema: what is hostile below is hostile for one reason only
    for operation in TAKING_JSON:
        payload = json.dumps(sample(operation.body or {}, scene.body)).encode()
        # when
        answer = await sent(jack, operation, scene, payload)
        # then
        assert answer.status_code < 500, operation.label
        assert "errors" not in answer.json() if answer.status_code == 422 else True, (operation.label, answer.text)


@pytest.mark.parametrize("operation", TAKING_JSON, ids=lambda operation: operation.label)
async def test_bodies_that_are_no_payload(operation: Operation, jack: Person, scene: Stage, world: World) -> None:
    async with world.unchanged():
        # when
        answers = await at_once(sent(jack, operation, scene, body) for body in BODIES.values())
        # then
        for answer in answers:
            assert refused(answer, 422) == "validation_failed"


@pytest.mark.parametrize(
    "hostile",
    [
        '"\\ud800"',
        '"x\\u0000y"',
        '"\\udfff\\ud800"',
        "9" * 400,
        "9" * 5_000,
        "-1e400",
        "1e400",
        "NaN",
        "Infinity",
        '{"x": 1}',
        '{"\\ud800": "\\ud800"}',
        "[[]]",
        json.dumps("x" * 20_000),
        json.dumps("\U0001f4a9" * 5_000),
    ],
    ids=lambda hostile: hostile[:24],
)
async def test_hostile_values_in_each_field(hostile: str, jack: Person, scene: Stage, world: World) -> None:
    # given a payload in shape, but for one field, for each field of each operation
    calls = [
        sent(jack, operation, scene, json.dumps(payload).replace('"HOSTILE"', hostile).encode())
        for operation in TAKING_JSON
        for payload in with_each_leaf(sample(operation.body or {}, scene.body), "HOSTILE")
    ]
    assert len(calls) > 70
    async with world.unchanged():
        # when
        answers = await at_once(calls)
        # then
        for answer in answers:
            refused(answer, 422)


async def test_hostile_names_in_nested_objects(jack: Person, scene: Stage, world: World) -> None:
    # given
    create = next(one for one in TAKING_JSON if one.label == "POST /api/v1/service-requests")
    payload = sample(create.body or {}, scene.body)
    names = [LONE_SURROGATE, "x\x00y", "", "x" * 65, "__proto__", "9" * 64, "\U0001f4a9", " "]
    many = {f"q{number}": True for number in range(31)}
    async with world.unchanged():
        # when
        answers = await at_once(
            sent(jack, create, scene, json.dumps(payload | {"answers": answers}).encode())
            for answers in [many, *({name: "x"} for name in names)]
        )
        # then
        for answer in answers:
            assert refused(answer, 422) in {"validation_failed", "answers_refused"}


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+99:99",
        "-2026-01-01T00:00:00Z",
        "99999-01-01T00:00:00Z",
        "1e400",
    ],
)
async def test_moments_outside_of_the_calendar(moment: str, jack: Person, scene: Stage, world: World) -> None:
    # given
    create = next(one for one in TAKING_JSON if one.label == "POST /api/v1/service-requests")
    payload = sample(create.body or {}, scene.body) | {"preferred_at": moment}
    async with world.unchanged():
        # when
        created = await sent(jack, create, scene, json.dumps(payload).encode())
        listed = await jack.get("/api/v1/admin/service-requests", params={"created_before": moment})
        # then
        refused(created, 422)
        refused(listed, 422)


@pytest.mark.parametrize("operation", TAKING_JSON, ids=lambda operation: operation.label)
async def test_bodies_above_the_limit_and_of_other_kinds(
    operation: Operation, jack: Person, scene: Stage, world: World
) -> None:
    # given
    payload = json.dumps(sample(operation.body or {}, scene.body)).encode()
    kinds = ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "/", "application/jso"]
    kinds += ["multipart/form-data", "multipart/form-data; boundary=x", "application/json-patch+xml", "x" * 5_000]
    async with world.unchanged():
        # when
        above = await sent(jack, operation, scene, payload.ljust(64 * 1024 + 1))
        far_above = await sent(jack, operation, scene, payload.ljust(1024 * 1024))
        others = await at_once(
            jack.call(operation.method, operation.url(scene.ids), content=payload, headers={"Content-Type": kind})
            for kind in kinds
        )
        # then
        assert refused(above, 413) == refused(far_above, 413) == "payload_too_large"
        for answer in others:
            assert refused(answer, 422) == "validation_failed"


QUERIES = [
    "%00",
    "%ED%A0%80",
    "%FF%FE",
    "%",
    "%zz",
    "a" * 20_000,
    "9" * 5_000,
    "-1",
    "1e400",
    "NaN",
    "0.5",
    "null",
    "%5B%5D",
    "%D9%A1",
    "..%2F..%2Fetc%2Fpasswd",
    "%27%20OR%201%3D1--",
    "1&{name}=2",
    "&".join(["1"] + ["{name}=1"] * 2_000),
    "1&unknown=1",
    "1&" + "&".join(f"unknown{number}=1" for number in range(2_000)),
    "1&{name}[]=1&{name}[0]=1&[{name}]=1",
    "",
]


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.parameters("query")],
    ids=lambda operation: operation.label,
)
async def test_hostile_queries(operation: Operation, jack: Person, scene: Stage, world: World) -> None:
    # given
    headers = {"Authorization": f"Bearer {(await made(jack))['key']}"} if operation.takes_key else {}
    wanted = [(name, value.replace("{name}", name)) for name in operation.parameters("query") for value in QUERIES]
    async with world.unchanged():
        # when
        answers = await at_once(
            jack.call(operation.method, f"{operation.url(scene.ids)}?{name}={value}", headers=headers)
            for name, value in wanted
        )
        # then
        for answer in answers:
            if answer.status_code != 200:
                refused(answer, 404, 422)


IDS = [
    "x",
    "0",
    "-1",
    "%00",
    "%2e%2e",
    "%FF",
    "%ED%A0%80",
    "%F0%9F%92%A9",
    "null",
    "%7Brequest_id%7D",
    "0190a0a0-0000-7000-8000-00000000000",
    "0190a0a0-0000-7000-8000-0000000000000",
    "0190a0a0-0000-7000-8000-00000000000g",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "%D9%A10190a0a0-0000-7000-8000-0000000000",
    "9" * 5_000,
    "x" * 60_000,
    "1%27%20OR%20%271%27=%271",
]


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.parameters("path")],
    ids=lambda operation: operation.label,
)
async def test_hostile_ids(operation: Operation, jack: Person, scene: Stage, world: World) -> None:
    # given
    payload = sample(operation.body, scene.body) if operation.body else None
    name = operation.parameters("path")[0]
    async with world.unchanged():
        # when
        answers = await at_once(
            jack.call(operation.method, operation.path.replace(f"{{{name}}}", hostile), json=payload) for hostile in IDS
        )
        # then
        for answer in answers:
            refused(answer, 404, 405, 422)


HEADERS: list[tuple[str, bytes]] = [
    ("Authorization", b"Bearer"),
    ("Authorization", b"Bearer \xff\xfe"),
    ("Authorization", b"Bearer " + b"x" * 30_000),
    ("Authorization", b"Bearer ..."),
    ("Authorization", b"Bearer a.b.c"),
    ("Authorization", b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."),
    ("Authorization", b"Bearer eyJraWQiOnt9fQ.e30.x"),
    ("Authorization", b"Bearer W10.W10.W10"),
    ("Authorization", b"Bearer bnVsbA.bnVsbA.bnVsbA"),
    ("Authorization", "Bearer \u0661".encode()),
    ("Authorization", b"Basic YWRtaW46YWRtaW4="),
    ("Authorization", b"\x80"),
]


@pytest.mark.parametrize(("name", "value"), HEADERS, ids=lambda part: repr(part)[:40])
async def test_hostile_credentials(name: str, value: bytes, http: httpx.AsyncClient, world: World) -> None:
    async with world.unchanged():
        # when
        answer = await http.get("/api/v1/me", headers={name.encode(): value})
        # then
        assert refused(answer, 401) == "unauthenticated"
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_hostile_idempotency_keys(jack: Person, scene: Stage, world: World) -> None:
    # given
    create = next(one for one in TAKING_JSON if one.label == "POST /api/v1/service-requests")
    payload = json.dumps(sample(create.body or {}, scene.body)).encode()
    keys = [b"", b"short", b"x" * 129, b"x" * 30_000, b"with blank", b"\xff" * 10, b"\x80" * 10, "ключ-ключ".encode()]
    async with world.unchanged():
        # when
        answers = await at_once(
            jack.http.request(
                create.method,
                create.path,
                content=payload,
                headers={
                    b"Authorization": jack.headers["Authorization"].encode(),
                    b"Content-Type": b"application/json",
                    b"Idempotency-Key": key,
                },
            )
            for key in keys
        )
        # then
        for answer in answers:
            assert refused(answer, 422) == "validation_failed", answer.request.headers


ODDITIES: list[dict[bytes, bytes]] = [
    {b"If-None-Match": b'\xff, W/"", *, \''},
    {b"If-Match": b'"x"'},
    {b"If-Modified-Since": b"Fri, 99 Foo 99999999 99:99:99 GMT"},
    {b"If-Modified-Since": b"\xff"},
    {b"If-Unmodified-Since": b"-1"},
    {b"If-Range": b"x", b"Range": b"bytes=0-0"},
    {b"Range": b"bytes=-1,-1,-1"},
    {b"Range": b"bytes=99999999999999999999999-"},
    {b"Range": b"bytes=" + b"0-0," * 5_000 + b"0-0"},
    {b"Range": b"lines=a-b"},
    {b"Accept": b"\xff/\xff;q=x"},
    {b"Accept": b"text/html;q=0"},
    {b"Accept-Encoding": b"gzip;q=NaN, \xff"},
    {b"Accept-Language": b"x" * 30_000},
    {b"Cookie": b"a=\xff; =; ;;; " + b"b" * 10_000},
    {b"Content-Length": b"0"},
    {b"Host": b"evil.example"},
    {b"Host": b"\xff"},
    {b"X-Forwarded-For": b"\xff, 999.999.999.999"},
    {b"X-Forwarded-Proto": b"javascript"},
    {b"X-HTTP-Method-Override": b"DELETE"},
    {b"Origin": b"null"},
    {b"Upgrade": b"h2c", b"Connection": b"Upgrade"},
    {b"Expect": b"200-maybe"},
    {b"Content-Type": b"\xff;\xff=\xff"},
    {f"X-{number}".encode(): b"x" for number in range(500)},
    {b"X-Large": b"x" * 200_000},
]


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: repr(oddity)[:50])
async def test_odd_headers_do_no_harm(oddity: dict[bytes, bytes], jack: Person, scene: Stage, world: World) -> None:
    # given
    bearer = {b"Authorization": jack.headers["Authorization"].encode()}
    link = (await jack.http.get("/api/v1/files/" + scene.ids["file_id"][0], headers=scene.owner.headers)).json()["url"]
    content = httpx.URL(link).raw_path.decode()
    async with world.unchanged():
        # when
        me, image, page, script = await at_once(
            jack.http.get(path, headers=bearer | oddity)
            for path in ("/api/v1/me", content, "/docs", "/docs/swagger-ui.css")
        )
        # then
        assert (me.status_code, me.json()["id"]) == (200, str(jack.id))
        assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
        assert page.status_code == 200
        assert script.status_code in {200, 206, 304, 400, 416}
