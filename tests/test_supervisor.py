"""The supervisor restarts what dies, stops everything when told to, and leaves nothing behind when killed."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from app.supervisor import Child, supervise

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")

RECORD = "import os, time; open('lives', 'a').write(f'{os.environ[\"NAME\"]} {os.getpid()} {time.time()}\\n');"
SLEEPER = RECORD + "time.sleep(60)"
FAILURE = RECORD + "raise SystemExit(3)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
ACCEPT = (
    "import os, socket; listener = socket.socket(fileno=int(os.environ['FD']));"
    "listener.accept()[0].send(os.environ['NAME'].encode())"
)
ASKS_FOR_ITSELF = (
    "import signal; from app.core.processes import die_with_parent; die_with_parent(signal.SIGTERM);" + SLEEPER
)


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children note their lives in the current folder and import what this process imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]))


def lives(name: str = "") -> list[tuple[int, float]]:
    """The pid and the time of birth, in seconds, of every start of the children with that name, oldest first."""
    file = Path("lives")
    lines = file.read_text().splitlines() if file.exists() else []
    words = [line.rsplit(maxsplit=2) for line in lines if line.startswith(name)]
    return [(int(pid), float(born)) for _, pid, born in words]


def is_running(pid: int) -> bool:
    """Whether `pid` is a live process; one that ended, but that nobody has asked about yet, is not."""
    try:
        os.kill(pid, 0)
        return sys.platform != "linux" or ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def await_that(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@contextmanager
def supervising(*programs: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    script = Path(__file__).with_name("supervisor_parent.py")
    argv = [sys.executable, str(script), *programs]
    with subprocess.Popen(
        argv, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as supervisor:
        try:
            assert supervisor.stdout
            assert supervisor.stdout.readline() == "ready\n"
            yield supervisor
        finally:
            supervisor.terminate()


def test_a_child_that_dies_is_started_again_while_the_others_live_on() -> None:
    with supervising(SLEEPER, SLEEPER):
        # given
        await_that(lambda: len(lives()) == 2)
        [(victim, _)], [(other, _)] = lives("child 0"), lives("child 1")

        # when
        os.kill(victim, signal.SIGKILL)

        # then
        await_that(lambda: len(lives("child 0")) == 2)
        assert is_running(lives("child 0")[1][0])
        assert is_running(other)
        assert len(lives("child 1")) == 1


def test_a_child_that_keeps_dying_is_restarted_ever_later_and_then_given_up() -> None:
    with supervising(FAILURE, SLEEPER) as supervisor:
        code = supervisor.wait(timeout=9)
        assert supervisor.stderr
        said = supervisor.stderr.read()

    births = [born for _, born in lives("child 0")]
    pauses = [later - earlier for earlier, later in pairwise(births)]
    assert code == 1
    assert len(births) == 5
    assert all(pause >= least for pause, least in zip(pauses, [0.2, 0.4, 0.8, 1.6], strict=True))
    assert "child 0 ended with code 3" in said
    assert "child 0 keeps ending" in said
    assert not is_running(lives("child 1")[0][0])


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_all_children(asked: signal.Signals) -> None:
    with supervising(SLEEPER, SLEEPER) as supervisor:
        # given
        await_that(lambda: len(lives()) == 2)

        # when
        supervisor.send_signal(asked)

        # then
        assert supervisor.wait(timeout=5) == 0
        assert not any(is_running(pid) for pid, _ in lives())


def test_a_signal_stops_a_supervisor_whose_child_waits_for_its_restart() -> None:
    with supervising(FAILURE) as supervisor:
        # given
        await_that(lambda: len(lives()) == 4)

        # when
        supervisor.terminate()

        # then
        assert supervisor.wait(timeout=5) == 0
        assert len(lives()) == 4


def test_a_child_that_will_not_stop_is_killed_when_its_grace_is_over() -> None:
    with supervising(STUBBORN, SLEEPER, GRACE_SECONDS="0.5") as supervisor:
        # given
        await_that(lambda: len(lives()) == 2)

        # when
        asked_at = time.monotonic()
        supervisor.terminate()

        # then
        assert supervisor.wait(timeout=5) == 0
        assert 0.5 <= time.monotonic() - asked_at < 2
        assert not any(is_running(pid) for pid, _ in lives())


def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with supervising(SLEEPER) as supervisor:
            # given
            await_that(lambda: len(lives()) == 1)

            # when
            supervisor.send_signal(signal.SIGHUP)

            # then
            with pytest.raises(subprocess.TimeoutExpired):
                supervisor.wait(timeout=0.3)
    finally:
        signal.signal(signal.SIGHUP, before)


@needs_linux
def test_a_killed_supervisor_leaves_no_child() -> None:
    with supervising(SLEEPER, SLEEPER) as supervisor:
        # given
        await_that(lambda: len(lives()) == 2)

        # when
        supervisor.kill()

    # then
    await_that(lambda: not any(is_running(pid) for pid, _ in lives()))


@needs_linux
def test_a_process_can_ask_to_end_with_its_parent() -> None:
    # given
    parent_source = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASKS_FOR_ITSELF!r}])"
    with subprocess.Popen([sys.executable, "-c", parent_source], env={**os.environ, "NAME": "child"}) as parent:
        await_that(lambda: len(lives()) == 1)

        # when
        parent.kill()

    # then
    await_that(lambda: not is_running(lives()[0][0]))


def test_children_share_an_inherited_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # given
        fd, address = listener.fileno(), listener.getsockname()
        argv = [sys.executable, "-c", ACCEPT]
        children = [Child(name, argv, {"NAME": name, "FD": str(fd)}, [fd]) for name in ("one", "two")]
        heard: set[str] = set()

        def call_both() -> None:
            # A child takes one call and ends, so two calls meet both.
            for _ in children:
                with socket.create_connection(address, timeout=5) as client:
                    heard.add(client.recv(16).decode())
            os.kill(os.getpid(), signal.SIGTERM)

        # when
        code = supervise(children, ready=call_both)

        # then
        assert code == 0
        assert heard == {"one", "two"}


def test_handlers_are_given_back_and_children_stopped_if_one_cannot_start() -> None:
    # given
    before = signal.getsignal(signal.SIGTERM)
    children = [Child("sleeper", [sys.executable, "-c", SLEEPER], {"NAME": "sleeper"}), Child("nobody", ["./absent"])]

    # when
    with pytest.raises(FileNotFoundError):
        supervise(children)

    # then
    assert signal.getsignal(signal.SIGTERM) is before
    assert not any(is_running(pid) for pid, _ in lives())


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process has one core, so that its threads stop each other at every point."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@needs_linux
@pytest.mark.usefixtures("one_core")
def test_a_signal_that_comes_just_before_it_waits_for_one_is_not_missed() -> None:
    # given
    main, missed = threading.get_ident(), 0

    def tell_to_stop(begun: threading.Event, ended: threading.Event) -> None:
        nonlocal missed
        begun.wait()
        signal.pthread_kill(main, signal.SIGTERM)
        while not ended.wait(1):
            missed += 1
            signal.pthread_kill(main, signal.SIGTERM)

    for _ in range(2000):
        begun, ended = threading.Event(), threading.Event()
        teller = threading.Thread(target=tell_to_stop, args=(begun, ended))
        teller.start()
        # when
        assert supervise([], ready=begun.set) == 0
        ended.set()
        teller.join()

    # then
    assert missed == 0
