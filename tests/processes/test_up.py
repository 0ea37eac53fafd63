"""`localbazaar up` starts everything, keeps it running, and leaves nothing behind, however it ends."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.servers import ROOT, ended, free_port, ready
from tests.support.faithful import until

READY_SECONDS = 30.0  # three or four, on a machine that has nothing else to do
END_SECONDS = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def descendants(pid: int) -> set[int]:
    """All processes that come from this one."""
    parents = {int(p.name): parent_of(int(p.name)) for p in Path("/proc").glob("[0-9]*")}
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


class Up:
    """A running `up`, and what it needs to be asked."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]", http: httpx.AsyncClient, log: Path) -> None:
        self.folder, self.process, self.http, self._log = folder, process, http, log

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def tree(self) -> set[int]:
        return {self.process.pid} | descendants(self.process.pid)

    def child(self, words: str) -> int:
        """The one process of the tree with these words in its command."""
        [pid] = [pid for pid in descendants(self.process.pid) if words in command_of(pid)]
        return pid

    async def gets_child(self, words: str) -> None:
        """Return once there is such a process."""
        await until(
            lambda: any(words in command_of(pid) for pid in descendants(self.process.pid)), 10, f"a process of {words}"
        )

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Another command of the product on the same folder, while this one runs."""
        return run(self.folder, *arguments, **environment)


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command of the product on this folder."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env=clean_environment(folder) | environment,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def clean_environment(folder: Path) -> dict[str, str]:
    """No servers are configured: `up` brings its own."""
    unwanted = ("DATABASE_URL", "REDIS_URL", "LOCALBAZAAR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | {"LOCALBAZAAR_DATA_FOLDER": str(folder), "COLUMNS": "200"}


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """Data of a first start, made once: the others find it, as a user's second start does."""
    parent = Path(tempfile.mkdtemp(prefix="lb-up-", dir="/tmp"))
    parent.chmod(0o755)
    yield parent / "data"
    elsewhere = parent / "data" / "elsewhere"
    if elsewhere.exists():
        shutil.rmtree(elsewhere.resolve())
    shutil.rmtree(parent)


@asynccontextmanager
async def up(folder: Path, *options: str, port: int | None = None) -> AsyncIterator[Up]:
    """`up` in a process group of its own, as a terminal starts it; whatever it left running is ended in the end."""
    port = port or free_port()
    log = folder.parent / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - it takes a moment only
            [sys.executable, "-m", "app.cli", "up", "--port", str(port), *options],
            cwd=ROOT,
            env=clean_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    seen: set[int] = set()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
        running = Up(folder, process, http, log)
        try:
            yield running
        finally:
            print(running.said)  # pytest shows it if the test fails
            seen |= running.tree
            process.terminate()
            try:
                await ended(process, END_SECONDS)
            finally:
                for pid in {pid for pid in seen if is_running(pid) and pid != os.getpid()}:
                    os.kill(pid, signal.SIGKILL)
                process.wait()


async def gone(pids: set[int], within_seconds: float = END_SECONDS) -> float:
    """Wait until none of these processes runs; how many seconds that took."""
    began = time.monotonic()
    while left := {pid: command_of(pid) for pid in pids if is_running(pid)}:
        assert time.monotonic() - began < within_seconds, f"left behind: {left}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def sign_up(http: httpx.AsyncClient, mark: str) -> dict[str, Any]:
    """Commit something: an account."""
    payload = {
        "name": "Some Body",
        "email": f"{mark}@mail.localbazaar.in",
        "phone": f"+9198{int(time.time() * 1000) % 10**8:08d}",
        "password": "correct horse battery 7",
    }
    answer = await http.post("/api/v1/auth/register", json=payload)
    assert answer.status_code == 201, answer.text
    return payload


async def is_known(http: httpx.AsyncClient, account: dict[str, Any]) -> bool:
    """Whether the account exists: it cannot log in before it is verified, but it is told so."""
    credentials = {name: account[name] for name in ("email", "password")}
    answer = await http.post("/api/v1/auth/login", json=credentials)
    return answer.status_code == 403 and answer.json()["code"] == "verification_pending"


async def test_a_first_start_with_the_demo_town_plays_the_demo(data: Path) -> None:
    async with up(data) as running:
        took = await ready(running.http, running.process, 2 * READY_SECONDS)
        print(f"first start with the town: ready after {took:.1f} s")
        # what one can do with the product from another terminal uses the running servers
        url = str(running.http.base_url)
        played = running.run("demo", "leads", "--url", url)
        assert played.returncode == 0, played.stdout + played.stderr
        assert "one winner" in played.stdout
        worked = running.run("demo", "work-order", "--url", url)
        assert worked.returncode == 0, worked.stdout + worked.stderr
        assert "paid once" in worked.stdout
        proved = running.run("ledger", "verify")
        assert proved.returncode == 0, proved.stdout + proved.stderr
        assert "clean" in proved.stdout
        made = running.run(
            "create-admin", "Root", "root@mail.localbazaar.in", "+919800000001", "--password", "a long admin secret 9"
        )
        assert made.returncode == 0, made.stdout + made.stderr
        login = {"email": "root@mail.localbazaar.in", "password": "a long admin secret 9"}
        answer = await running.http.post("/api/v1/auth/login", json=login)
        assert answer.status_code == 200
        assert "admin" in answer.json()["user"]["roles"]
        assert url in running.said
        assert running.process.poll() is None, "another command has stopped it"


def interrupt(running: Up) -> None:
    """Ctrl-C in the terminal: the signal reaches everything in the foreground."""
    os.killpg(running.process.pid, signal.SIGINT)


def terminate(running: Up) -> None:
    running.process.terminate()


def kill(running: Up) -> None:
    running.process.kill()


async def test_however_it_ends_no_process_is_left_and_no_commit_is_lost(data: Path) -> None:
    accounts: list[dict[str, Any]] = []
    for end, code in ((interrupt, 0), (terminate, 0), (kill, -signal.SIGKILL), (None, 0)):
        # Given a running product, which finds what was committed in all its lives before
        async with up(data, "--no-seed") as running:
            took = await ready(running.http, running.process, READY_SECONDS)
            print(f"ready after {took:.1f} s")
            for account in accounts:
                assert await is_known(running.http, account)
            if end is None:
                break
            tree = running.tree
            names = " ".join(command_of(pid) for pid in tree)
            assert all(name in names for name in ("postgres", "valkey-server", "app.serve", "app.jobs.worker"))
            accounts.append(await sign_up(running.http, f"before-{end.__name__}-{time.monotonic_ns()}"))
            # When it ends
            end(running)
            took = await ended(running.process, END_SECONDS)
            # Then so does everything that it started
            print(f"{end.__name__}: ended after {took:.1f} s, the last process {await gone(tree):.1f} s later")
            assert running.process.returncode == code, running.said


async def test_children_that_die_are_started_again_and_rivals_are_refused(data: Path) -> None:
    async with up(data, "--no-seed") as running:
        await ready(running.http, running.process, READY_SECONDS)
        for words in ("app.serve", "app.jobs.worker"):
            pid = running.child(words)
            os.kill(pid, signal.SIGKILL)
            await gone({pid})
            await running.gets_child(words)
        took = await ready(running.http, running.process, READY_SECONDS)
        print(f"a killed server was replaced and ready {took:.1f} s later")
        # and PostgreSQL drops all connections when one of its own processes is killed: everybody connects anew
        worker = running.child("app.jobs.worker")
        [backend, *_] = [pid for pid in descendants(running.process.pid) if "postgres: checkpointer" in command_of(pid)]
        os.kill(backend, signal.SIGKILL)
        await gone({backend})
        await ready(running.http, running.process, READY_SECONDS)
        account = await sign_up(running.http, f"after-{time.monotonic_ns()}")
        assert await is_known(running.http, account)
        # and the codes come, so the worker works, and it is the same one
        async with asyncio.timeout(15):
            to = {"to": account["email"]}
            while not (await running.http.get("/api/v1/dev/messages", params=to)).json():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
        assert running.child("app.jobs.worker") == worker

        # A second `up` on the same data is refused, and the first runs on.
        refused = running.run("up", "--no-seed", "--port", str(free_port()))
        assert refused.returncode == 1
        assert "already in use" in refused.stdout
        assert (await running.http.get("/readyz")).status_code == 200


@pytest.mark.parametrize("server", ["valkey-server", "bin/postgres"])
async def test_when_a_database_ends_by_itself_everything_ends_and_says_why(data: Path, server: str) -> None:
    async with up(data, "--no-seed") as running:
        await ready(running.http, running.process, READY_SECONDS)
        tree = running.tree
        os.kill(running.child(server), signal.SIGKILL)
        await ended(running.process, END_SECONDS)
        await gone(tree)
        assert running.process.returncode == 1
        assert "has ended by itself" in running.said


async def test_a_port_that_is_taken_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with up(folder, "--no-seed", port=port) as running:
            await ended(running.process, READY_SECONDS)  # it is loaded whole before it looks
            assert running.process.returncode == 1
            assert f"127.0.0.1:{port}" in running.said
            assert "in use" in running.said
            assert "Traceback" not in running.said
    assert not folder.exists()


def test_a_command_without_a_running_up_brings_its_own_servers_and_ends_them(data: Path) -> None:
    # Given a migrated database, and what a killed `up` leaves behind
    data.mkdir(exist_ok=True)
    migrated = run(data, "migrate")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    (data / "servers.json").write_text(json.dumps({"DATABASE_URL": "x", "REDIS_URL": f"unix://{data}/valkey.sock"}))
    # When
    proved = run(data, "ledger", "verify")
    # Then
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "clean" in proved.stdout
    (data / "servers.json").unlink()


def test_the_openapi_document_needs_no_server(tmp_path: Path) -> None:
    printed = run(tmp_path, "openapi")
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout)["openapi"].startswith("3.")
    assert list(tmp_path.iterdir()) == []
