"""Receivers that misbehave: each costs its own delivery a bounded time, and never more."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.adapters.public_http import CallFailed, PublicHttp
from app.core.config import Settings
from tests.support.receiver import Conversation, speaking

SECONDS = 0.5
HEAD = b"HTTP/1.1 200 OK\r\n"


async def _asked(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))


def saying(*parts: bytes, pause: float = 0, for_ever: bool = False) -> Conversation:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _asked(reader)
        while True:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            if not for_ever:
                return

    return converse


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(10)


def client(configured: Settings, **changed: Any) -> PublicHttp:
    settings = configured.model_copy(update={"webhook_loopback": True, "webhook_seconds": SECONDS})
    return PublicHttp(settings, **changed)


async def outcome(http: PublicHttp, url: str) -> int | str:
    """The status, or why there was none."""
    try:
        return await http.post(url, {"X-Test": "1"}, b"{}")
    except CallFailed as failure:
        return failure.reason


async def wake_up_after(seconds: float) -> float:
    """When that was: on a busy machine as late as any other timer of this loop."""
    await asyncio.sleep(seconds)
    return time.monotonic()


_SLOWLY = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000]


@pytest.mark.parametrize(
    ("conversation", "expected"),
    [
        pytest.param(silent, "timeout", id="hangs"),
        pytest.param(saying(*_SLOWLY, pause=0.02), "timeout", id="head-byte-by-byte"),
        pytest.param(saying(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.001, for_ever=True), "timeout", id="endless-100"),
        pytest.param(saying(HEAD + b"X: " + b"x" * 2**20), "protocol", id="huge-header"),
        pytest.param(saying(HEAD, *[b"X: " + b"x" * 2**14 + b"\r\n"] * 64), "protocol", id="many-headers"),
        pytest.param(closing, ("connection", "protocol"), id="closes-while-asked"),
        pytest.param(saying(b""), "protocol", id="closes-unanswered"),
        pytest.param(saying(b"HTTP/1.1 20"), "protocol", id="closes-midway"),
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol", id="no-http"),
        pytest.param(saying(b"HTTP/1.1 999 Odd\r\n\r\n"), 999, id="odd-status"),
        pytest.param(saying(HEAD + b"\r\n", b"x" * 65536, for_ever=True), 200, id="endless-body"),
        pytest.param(saying(HEAD + b"Content-Length: 9\r\n\r\n", b"x", pause=5), 200, id="body-never-ends"),
        pytest.param(saying(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), 500, id="fails"),
        pytest.param(
            saying(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\n\r\n"),
            302,
            id="redirect",
        ),
    ],
)
async def test_a_receiver_that_misbehaves_costs_a_bounded_time(
    configured: Settings, conversation: Conversation, expected: int | str | tuple[str, ...]
) -> None:
    async with speaking(conversation) as port:
        waking_up = asyncio.create_task(wake_up_after(SECONDS))
        found = await outcome(client(configured), f"http://127.0.0.1:{port}/")
        ended = time.monotonic()
        assert ended < await waking_up + 0.6
    assert found in (expected if isinstance(expected, tuple) else (expected,))


async def test_a_redirect_is_not_followed(configured: Settings) -> None:
    asked = []

    async def there(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.append(await _asked(reader))

    async with speaking(there) as inner:
        redirect = f"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:{inner}/\r\n\r\n".encode()
        async with speaking(saying(redirect)) as port:
            found = await outcome(client(configured), f"http://127.0.0.1:{port}/")
        await asyncio.sleep(0.05)
    assert (found, asked) == (307, [])


async def test_nobody_listens(configured: Settings) -> None:
    async with speaking(silent) as port:
        pass
    assert await outcome(client(configured), f"http://127.0.0.1:{port}/") == "connection"


async def test_proxies_of_the_environment_are_not_used(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with speaking(saying(HEAD + b"\r\n")) as port:
        assert await outcome(client(configured), f"http://127.0.0.1:{port}/") == 200


def certificate(folder: Path, name: x509.GeneralName) -> Path:
    """A certificate that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A receiver")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "receiver.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@asynccontextmanager
async def over_tls(pem: Path, heard: Callable[[str | None], None]) -> AsyncIterator[int]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    tls.sni_callback = lambda _, name, __: heard(name)
    async with speaking(saying(HEAD + b"\r\n"), tls) as port:
        yield port


async def resolve(_: str, __: int) -> list[str]:
    return ["127.0.0.1"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(configured: Settings, tmp_path: Path) -> None:
    pem = certificate(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    async with over_tls(pem, lambda _: None) as port:
        assert await outcome(client(configured), f"https://127.0.0.1:{port}/") == "tls"


@pytest.mark.parametrize(("name", "expected"), [("hooks.example.com", 200), ("other.example.com", "tls")])
async def test_the_certificate_has_to_be_that_of_the_name(
    configured: Settings, tmp_path: Path, name: str, expected: int | str
) -> None:
    # Given a receiver whose certificate is trusted, behind an address that its name leads to
    pem = certificate(tmp_path, x509.DNSName("hooks.example.com"))
    trusting = ssl.create_default_context(cafile=str(pem))
    heard: list[str | None] = []
    async with over_tls(pem, heard.append) as port:
        http = client(configured, resolve=resolve, tls=trusting)
        assert await outcome(http, f"https://{name}:{port}/") == expected
    # And the connection, although to an address, asked for the name
    assert heard == [name]
