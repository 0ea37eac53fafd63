"""Everything that a measurement needs, running: servers, a world, the product, the limit, the load generator."""

import http.client
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json, to_json

from app.core.config import settings
from app.core.embedded import EmbeddedServers, embedded_servers
from app.core.security import AccessTokens, Keys
from app.migrate import migrate
from bench.load import Load
from bench.processes import Cores, Server, serving, tie
from bench.world import Person

_KNOBS: Final = {
    "LOCALBAZAAR_ACCESS_TOKEN_SECONDS": "3600",
    "LOCALBAZAAR_SERVICE_REQUESTS_OPEN_PER_CUSTOMER": "1000000",
    "LOCALBAZAAR_SOCKETS_PER_USER": "20",
    "LOCALBAZAAR_MESSAGES_PER_USER": "1000000/minute",
}


@dataclass(frozen=True)
class Stage:
    cores: Cores
    database: EmbeddedServers
    product: Server
    limit: Server
    load: Load


@contextmanager
def prepared_servers(cores: Cores) -> Iterator[EmbeddedServers]:
    """Durable servers of this run's own, migrated; the settings of this process and its children lead to them."""
    folder = Path(tempfile.mkdtemp(prefix="localbazaar-bench-", dir="/var/tmp"))  # often a disk where /tmp is memory
    folder.chmod(0o755)
    try:
        with embedded_servers(folder) as servers:
            os.environ |= _KNOBS | {
                "DATABASE_URL": servers.database_url,
                "REDIS_URL": servers.redis_url,
                "LOCALBAZAAR_DATA_FOLDER": str(folder),
            }
            settings.cache_clear()
            migrate(settings())
            tie(servers.postgres_pid, cores.others)
            tie(servers.valkey_pid, cores.others)
            yield servers
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def set_stage(database: EmbeddedServers, cores: Cores) -> Iterator[Stage]:
    with (
        serving("app.serve", "--fd", core=cores.server) as product,
        serving("bench.limit", core=cores.server) as limit,
        Load(cores.others) as load,
    ):
        yield Stage(cores, database, product, limit, load)


@cache
def token(person: Person, *roles: str) -> str:
    """An access token, as a log-in would have issued it for the session."""
    configured = settings()
    return AccessTokens(configured, Keys(configured)).issue(person.id, person.session_id, list(roles))


def request(
    method: str,
    path: str,
    *,
    bearer: str | None = None,
    body: Any = None,
    key: UUID | None = None,
    content_type: str = "application/json",
) -> bytes:
    """The bytes of an HTTP request, with few headers, as from an app rather than from a browser.

    `body` is sent as JSON, or as it is if it is bytes.
    """
    content = b"" if body is None else body if isinstance(body, bytes) else to_json(body)
    lines = [f"{method} {path} HTTP/1.1", "host: bench", "accept: application/json"]
    if bearer:
        lines.append(f"authorization: Bearer {bearer}")
    if key:
        lines.append(f"idempotency-key: {key}")
    if method != "GET":
        lines += [f"content-type: {content_type}", f"content-length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def ask(port: int, sent: bytes) -> Any:
    """The answer to one request, parsed; for looking, not for measuring."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        response = http.client.HTTPResponse(client)
        response.begin()
        return from_json(response.read())
