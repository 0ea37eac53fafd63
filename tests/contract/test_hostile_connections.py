"""What is sent past every HTTP library: lying lengths, bodies without an end, requests that are none."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.contract.operations import DOCUMENT, ENDLESS, OPERATIONS, at_once
from tests.contract.refusals import refused
from tests.contract.stage import Stage
from tests.support.world import Person, World

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
REGISTER = "/api/v1/auth/register"


async def raw(address: str, *pieces: bytes, patience: float = 5) -> tuple[int, str]:
    """Send these bytes as they are; the status and the body of the first answer, or 0 when there was none."""
    url = httpx.URL(address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience)
        length = re.search(rb"content-length: (\d+)", head.lower())
        body = await asyncio.wait_for(reader.readexactly(int(length[1]) if length else 0), patience)
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0, ""
    finally:
        writer.close()
    return int(head.split()[1]), body.decode()


def request(path: str, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


async def test_bodies_without_an_announced_length_are_bounded(address: str, jane: Person, world: World) -> None:
    # given
    piece = b" " * 16 * 1024
    bearer = f"Authorization: {jane.headers['Authorization']}"
    head = request(REGISTER, "Transfer-Encoding: chunked")
    form = request("/api/v1/me/applications", "Transfer-Encoding: chunked", bearer)
    async with world.unchanged():
        # when
        answers = await asyncio.gather(
            raw(address, head, *[chunk(piece)] * 5, b"0\r\n\r\n"),
            raw(address, head, *[chunk(b" ")] * 100_000, b"0\r\n\r\n"),
            raw(address, form, *[chunk(piece)] * 5, b"0\r\n\r\n"),
            raw(address, head, *[chunk(piece)] * 4, chunk(b"{"), b"0\r\n\r\n"),
        )
        # then
        for status, body in answers:
            assert (status, json.loads(body)["code"]) == (413, "payload_too_large")


async def test_uploads_without_an_announced_length_are_bounded(http: httpx.AsyncClient, world: World) -> None:
    # given: more than any video may have
    person = await world.person()
    limit = world.platform.settings.video_limit_bytes

    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(limit // 2**20 + 1):
            yield b"\x00" * 2**20

    headers = person.headers | {"Content-Type": "multipart/form-data; boundary=x"}
    async with world.unchanged():
        # when
        answer = await http.post("/api/v1/files", content=endless(), headers=headers)
        # then
        assert refused(answer, 413) == "payload_too_large"


@pytest.mark.parametrize(
    ("headers", "body", "statuses"),
    [
        (["Content-Length: 65537"], b"{}", {413}),
        (["Content-Length: 99999999999999"], b"{}", {413}),
        (["Content-Length: 18446744073709551616"], b"{}", {400}),
        (["Content-Length: " + "9" * 5_000], b"{}", {400}),
        (["Content-Length: -1"], b"{}", {400}),
        (["Content-Length: 2x"], b"{}", {400}),
        (["Content-Length: 0x2"], b"{}", {400}),
        (["Content-Length: 2", "Content-Length: 3"], b"{}", {400}),
        (["Content-Length: 2, 2"], b"{}", {400}),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], b"{}", {400}),
        (["Transfer-Encoding: chunked"], b"-1\r\n{}\r\n0\r\n\r\n", {400}),
        (["Transfer-Encoding: chunked"], b"fffffffffffffffff\r\n{}\r\n", {400}),
        (["Transfer-Encoding: gzip"], b"{}", {400}),
        (["Content-Length: 1"], b"{}GET / HTTP/1.1\r\n\r\n", {422}),
        (["Content-Length: 0"], b"{}", {422}),
        ([], b"", {422}),
    ],
)
async def test_lying_lengths(headers: list[str], body: bytes, statuses: set[int], address: str, world: World) -> None:
    async with world.unchanged():
        # when
        answers = await asyncio.gather(
            *(raw(address, request(REGISTER, *headers, "Connection: close"), body) for _ in range(4))
        )
        # then
        assert {status for status, _ in answers} <= statuses


async def test_clients_who_leave_in_the_middle(address: str, http: httpx.AsyncClient, world: World) -> None:
    # given
    person = await world.person()
    url = httpx.URL(address)
    bearer = f"Authorization: {person.headers['Authorization']}"
    head = request("/api/v1/files", bearer, "Content-Length: 1000000").replace(
        b"application/json", b"multipart/form-data; boundary=x"
    )
    async with world.unchanged():
        # when: fifty at once say that they bring a megabyte, bring some of it, and are gone
        for start in (
            request(REGISTER, "Content-Length: 500") + b'{"name"',
            head + b"--x\r\nContent-Disposition: form",
        ):
            connections = await asyncio.gather(*(asyncio.open_connection(url.host, url.port) for _ in range(50)))
            for _, writer in connections:
                writer.write(start)
                await writer.drain()
            await asyncio.sleep(0.05)
            for _, writer in connections:
                writer.transport.abort()
        # then: nobody else is held up
        answers = await asyncio.gather(*(person.get("/api/v1/me") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/me HTTP/1.0\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_requests_that_are_none(content: bytes, address: str, http: httpx.AsyncClient, world: World) -> None:
    async with world.unchanged():
        # when
        answers = await asyncio.gather(*(raw(address, content) for _ in range(4)))
        # then
        assert all(status == 0 or 400 <= status < 500 for status, _ in answers)
        assert (await http.get("/healthz")).status_code == 200


async def test_long_addresses(jane: Person, world: World) -> None:
    # given
    long = "x" * 60_000
    async with world.unchanged():
        # when
        answers = [
            await jane.get(f"/{long}"),
            await jane.get("/" + "/".join("x" * 1_000)),
            await jane.get("/api/v1/me/" + "../" * 10_000),
            await jane.get(f"/docs/{long}"),
            await jane.get("/docs/" + "a/" * 10_000),
            await jane.get(f"/problems/{long}"),
            await jane.get("/docs/%00"),
            await jane.get("/docs/..%2f..%2f..%2f..%2fetc/passwd"),
            await jane.get("/docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
            await jane.get("/redoc/%ff%fe"),
            await jane.get("/docs/fastapi/%00/x"),
        ]
        # then
        for answer in answers:
            assert refused(answer, 404, 422) in {"not_found", "validation_failed"}
        assert (await jane.get(f"/api/v1/me?{long}")).status_code == 200


async def test_unknown_paths_and_methods(jane: Person, scene: Stage, world: World) -> None:
    # given
    documented: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        documented.setdefault(operation.url(scene.ids), set()).add(operation.method)
    foreign = ["/", "/api", "/api/v2/me", "/api/v1//me", "/API/V1/ME", "/api/v1/me.json", "/wp-login.php"]
    foreign += [
        "/.git/config",
        "/admin",
        "/metrics",
        "/docs/none.js",
        "/redoc/none",
        "/docs/fastapi/none",
        "/ws/notifications",
    ]
    async with world.unchanged():
        # when
        wanted = [(method, path) for path, known in documented.items() for method in set(METHODS) - known]
        answers = await at_once(jane.call(method, path) for method, path in wanted)
        # then
        for (method, path), answer in zip(wanted, answers, strict=True):
            assert answer.status_code == 405, (method, path)
            allowed = set(answer.headers["allow"].split(", "))
            assert documented[path] <= allowed <= {*documented[path], "HEAD"}, (method, path)
            assert method == "HEAD" or refused(answer) == "method_not_allowed"
        for path in foreign:
            assert refused(await jane.get(path), 404) == "not_found"
            assert refused(await jane.post(path), 404, 405) in {"not_found", "method_not_allowed"}
        for path in ("/docs", "/redoc", "/openapi.json", "/docs/swagger-ui.css"):
            answer = await jane.post(path)
            assert refused(answer, 405) == "method_not_allowed"
            assert "GET" in answer.headers["allow"]


def test_the_document_tells_all_paths() -> None:
    # given, when, then: nothing but the endless one is left out of the tests above
    assert ENDLESS in DOCUMENT["paths"]
    assert len(OPERATIONS) + 1 == sum(len(methods) for methods in DOCUMENT["paths"].values()) > 60
