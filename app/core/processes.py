"""Child processes that never outlive the process that started them, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_PR_SET_PDEATHSIG = 1

# Looked up once, at import: between fork and exec a child must not load libraries.
_prctl: Callable[[int, int], int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Account(NamedTuple):
    """The system user, by number, that a process runs as."""

    uid: int
    gid: int


def die_with_parent(signal_number: signal.Signals) -> None:
    """Have the kernel send this process `signal_number` once its parent has ended, be it by SIGKILL.

    A parent that ends during the call counts too. Outside Linux no such promise exists and nothing happens.
    """
    parent = os.getppid()
    _request_death_signal(signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def spawn(
    argv: Sequence[str | Path],
    *,
    on_parent_death: signal.Signals,
    account: Account | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    output: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, where a terminal's Ctrl-C does not reach it, bound to this process.

    `on_parent_death` is what the kernel sends it should this process end first (Linux). `output` takes both its
    standard output and its errors. `account` needs root.

    Raises RuntimeError outside the main thread: the kernel takes the end of the starting thread for the parent's.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("child processes are started from the main thread only")
    parent = os.getpid()

    def bind_to_parent() -> None:
        # A forked Python only notes a signal and would lose the note at exec: let this one act at once instead.
        signal.signal(on_parent_death, signal.SIG_DFL)
        _request_death_signal(on_parent_death)
        if os.getppid() != parent:
            os._exit(1)

    # The hook runs after the change of user, which would have cleared the request again.
    return subprocess.Popen(  # noqa: S603 - every argv is written in this product
        argv,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=output,
        stderr=output,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=bind_to_parent,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=() if account else None,
    )


def _request_death_signal(signal_number: signal.Signals) -> None:
    if _prctl and _prctl(_PR_SET_PDEATHSIG, signal_number) != 0:
        raise OSError("the kernel refused PR_SET_PDEATHSIG")
