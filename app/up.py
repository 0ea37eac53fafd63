"""`localbazaar up`: the whole product on one machine, as children that die with it."""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.core.config import Settings, settings
from app.core.embedded import embedded_servers
from app.core.processes import spawn
from app.listening import listen
from app.services.flows import townspeople
from app.supervisor import Child, supervise

console = Console()

_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104 - compared with, not bound to


class NotPrepared(Exception):
    """The database is not what the product needs; the message is for the terminal."""


def run(host: str, port: int, processes: int, *, seed_town: bool) -> int:
    """Start everything and stay until a signal; the exit code."""
    started = time.monotonic()
    configured = settings()
    # The address is taken first: if somebody else has it, nothing is started at all.
    try:
        listening = listen(host, port)
    except OSError as error:
        console.print(f"[red]Cannot listen on {host}:{port}: {error.strerror}")
        return 1
    servers = _servers(configured)
    with listening, servers as found:
        here = f"http://{'127.0.0.1' if host in _EVERYWHERE else host}:{port}"
        os.environ |= found
        os.environ.setdefault("LOCALBAZAAR_PUBLIC_URL", here)
        settings.cache_clear()
        remembered = settings().data_folder / "servers.json"
        if found:
            remembered.write_text(json.dumps(found))
        children = [
            Child(
                f"serve-{number}",
                [sys.executable, "-m", "app.serve", "--fd", str(listening.fileno())],
                pass_fds=[listening.fileno()],
            )
            for number in range(processes)
        ]
        children.append(Child("worker", [sys.executable, "-m", "app.jobs.worker"]))

        def prepare() -> None:
            # While the children load; until this is done the server is not ready, and the worker starts over.
            _prepare(seed_town=seed_town)
            threading.Thread(target=_announce, args=(here, started, seed_town), daemon=True).start()

        try:
            code = supervise(children, ready=prepare)
        finally:
            remembered.unlink(missing_ok=True)
    return 1 if isinstance(servers, _Embedded) and servers.lost else code


def running_servers(configured: Settings) -> dict[str, str] | None:
    """The addresses of the embedded servers of an `up` that runs on the same data folder, if one does."""
    try:
        found: dict[str, str] = json.loads((configured.data_folder / "servers.json").read_text())
    except (OSError, ValueError):
        return None
    with socket.socket(socket.AF_UNIX) as there:
        try:
            there.connect(found["REDIS_URL"].removeprefix("unix://"))
        except OSError:
            return None  # what a killed `up` left behind
    return found


def _servers(configured: Settings) -> AbstractContextManager[dict[str, str]]:
    if configured.database_url and configured.redis_url:
        return nullcontext({})
    return _Embedded(configured)


class _Embedded(AbstractContextManager[dict[str, str]]):
    """Embedded servers for whichever of the two is not configured. When one of them ends by itself, so does `up`."""

    def __init__(self, configured: Settings) -> None:
        self._configured = configured
        self._servers = embedded_servers(configured.data_folder)
        self._stopping = False
        self.lost = False

    def __enter__(self) -> dict[str, str]:
        servers = self._servers.__enter__()
        if sys.platform == "linux":
            for name, pid in (("PostgreSQL", servers.postgres_pid), ("Valkey", servers.valkey_pid)):
                threading.Thread(target=self._watch, args=(name, pid, threading.get_ident()), daemon=True).start()
        return {
            "DATABASE_URL": self._configured.database_url or servers.database_url,
            "REDIS_URL": self._configured.redis_url or servers.redis_url,
        }

    def __exit__(self, *error: object) -> None:
        self._stopping = True
        self._servers.__exit__(None, None, None)

    def _watch(self, name: str, pid: int, main: int) -> None:
        """Nothing works without this server, and nobody else would start it again: better end, and be started anew."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if not self._stopping:
            self.lost = True
            console.print(f"[red]{name} has ended by itself")
            # To the thread that waits for signals: the kernel may hand one for the whole process to any other.
            signal.pthread_kill(main, signal.SIGTERM)


def _prepare(*, seed_town: bool) -> None:
    """In a process of its own: this one stays for as long as the product runs, and has no use for the product's code.

    Raises `NotPrepared`; why, that process has said.
    """
    argv = [sys.executable, "-m", "app.prepare", *(["--seed"] if seed_town else [])]
    if code := spawn(argv, on_parent_death=signal.SIGTERM).wait():
        raise NotPrepared(f"The database could not be prepared (code {code}).")


def _announce(here: str, started: float, with_town: bool) -> None:
    """Once the server is ready, say where it is and whom one may sign in as."""
    while not _is_ready(here):
        time.sleep(0.05)
    console.print(f"\nLocalBazaar is ready after {time.monotonic() - started:.1f} s")
    console.print(f"  API        {here}/docs")
    console.print(f"  OpenAPI    {here}/openapi.json")
    console.print(f"  socket     {here.replace('http', 'ws', 1)}/ws/notifications/")
    if with_town:
        console.print(f"  try        {Path(sys.argv[0]).parent / 'localbazaar'} demo leads --url {here}")
        table = Table("sign in as", "email", title=f"password of all: {townspeople.PASSWORD}")
        for role, email in townspeople.sample_sign_ins():
            table.add_row(role, email)
        console.print(table)
    sys.stdout.flush()


def _is_ready(here: str) -> bool:
    line = HTTPConnection(here.removeprefix("http://"), timeout=2)
    try:
        line.request("GET", "/readyz")
        return line.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        line.close()
