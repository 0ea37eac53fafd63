"""Runs the processes of this product side by side, restarts the ones that die, and stops them together."""

import logging
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from select import select
from typing import NamedTuple

from app.core.processes import spawn

_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 5.0
_DEATHS_TO_GIVE_UP = 5
_DEATHS_WINDOW_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Child(NamedTuple):
    """A process to keep running.

    `env` comes on top of this process's own environment. `pass_fds` are open file descriptors it inherits under the
    same numbers, such as one listening socket that several children accept from.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = {}
    pass_fds: Sequence[int] = ()


def supervise(
    children: Sequence[Child], *, ready: Callable[[], None] | None = None, grace_seconds: float = 10.0
) -> int:
    """Keep `children` running until SIGINT, SIGTERM or SIGHUP; return the exit code for this process.

    A child that ends, with whatever code, starts again after 0.2 s, doubling to 5 s until one run lasts 10 s. 0 says
    that a signal asked for the end; 1 that a child ended 5 times within 10 s. Either way every child gets SIGTERM and,
    `grace_seconds` later, SIGKILL. If this process itself is killed the kernel sends them SIGTERM (Linux).

    `ready` is called once all were started; signals wait until it returns. A SIGHUP that was ignored before stays
    ignored (`nohup`). Call it from the main thread. Raises OSError if a child's program cannot be started.
    """
    with _signals() as signals:
        keepers: list[_Keeper] = []
        try:
            for child in children:
                keepers.append(_Keeper(child))
            if ready:
                ready()
            return _keep_running(keepers, signals)
        finally:
            _stop(keepers, signals, grace_seconds)


class _Keeper:
    """One child through all its lives. Times are seconds on the monotonic clock."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process = _start(child)
        self._started = time.monotonic()
        self._delay = _FIRST_DELAY_SECONDS
        self._deaths: deque[float] = deque(maxlen=_DEATHS_TO_GIVE_UP)
        self.restart_at: float | None = None

    def has_died(self) -> bool:
        """Whether it ended since the last look; if so, a restart is due after the delay."""
        if self.restart_at is not None or self.process.poll() is None:
            return False
        now = time.monotonic()
        self._deaths.append(now)
        if now - self._started >= _DEATHS_WINDOW_SECONDS:
            self._delay = _FIRST_DELAY_SECONDS
        self.restart_at = now + self._delay
        self._delay = min(2 * self._delay, _LONGEST_DELAY_SECONDS)
        return True

    def is_hopeless(self) -> bool:
        deaths = self._deaths
        return len(deaths) == _DEATHS_TO_GIVE_UP and deaths[-1] - deaths[0] <= _DEATHS_WINDOW_SECONDS

    def restart(self) -> None:
        self.process = _start(self.child)
        self._started, self.restart_at = time.monotonic(), None


def _start(child: Child) -> subprocess.Popen[bytes]:
    return spawn(child.argv, on_parent_death=signal.SIGTERM, env={**os.environ, **child.env}, pass_fds=child.pass_fds)


def _keep_running(keepers: Sequence[_Keeper], signals: socket.socket) -> int:
    while True:
        for keeper in keepers:
            if keeper.has_died():
                _log.warning("%s ended with code %d", keeper.child.name, keeper.process.returncode)
                if keeper.is_hopeless():
                    _log.error("%s keeps ending: giving up", keeper.child.name)
                    return 1
            if keeper.restart_at is not None and keeper.restart_at <= time.monotonic():
                keeper.restart()
        next_restart = min((keeper.restart_at for keeper in keepers if keeper.restart_at is not None), default=None)
        if _next_signal(signals, next_restart) not in (None, signal.SIGCHLD):
            return 0


def _stop(keepers: Sequence[_Keeper], signals: socket.socket, grace_seconds: float) -> None:
    for keeper in keepers:
        keeper.process.terminate()
    deadline = time.monotonic() + grace_seconds
    while any(keeper.process.poll() is None for keeper in keepers) and time.monotonic() < deadline:
        _next_signal(signals, deadline)
    for keeper in keepers:
        keeper.process.kill()
        keeper.process.wait()


def _next_signal(signals: socket.socket, until: float | None) -> int | None:
    """The next signal that arrived, or `None` if none did `until` then."""
    timeout = None if until is None else max(0.0, until - time.monotonic())
    return signals.recv(1)[0] if select([signals], [], [], timeout)[0] else None


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """The numbers of the signals that matter here, to be read one by one.

    They are written the moment they arrive. A handler in Python comes later, when the interpreter looks: one that
    arrived just before this thread began to wait would be noted only once another one had woken it.
    """
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)
    received, written = socket.socketpair()
    with received, written:
        written.setblocking(False)
        previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
        written_before = signal.set_wakeup_fd(written.fileno())
        try:
            yield received
        finally:
            signal.set_wakeup_fd(written_before)
            for number, handler in previous.items():
                signal.signal(number, handler)
