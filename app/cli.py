"""The `localbazaar` command: everything that is done to or with the product from a terminal."""

import os
import signal
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from app import up
from app.core.config import Misconfigured, settings
from app.core.embedded import EmbeddedServerError
from app.core.processes import die_with_parent


class _Commands(TyperGroup):
    """Those below, which start processes, and those of `app/commands.py`, loaded when one of them is wanted: loading
    all of the product takes longer than anything that `up` has to do itself."""

    @cached_property
    def _others(self) -> Mapping[str, Any]:
        return {**_loaded("app.commands").commands, "demo": self._demo}

    @cached_property
    def _demo(self) -> Any:
        return _loaded("app.demo.commands")

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == "demo":
            return self._demo
        return super().get_command(ctx, cmd_name) or self._others.get(cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *self._others]


def _loaded(module: str) -> Any:
    return typer.main.get_command(import_module(module).app)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("up")
def up_command(
    host: str = "127.0.0.1",
    port: int = 8000,
    processes: int = 1,
    seed_town: Annotated[bool, typer.Option("--seed/--no-seed")] = True,
    with_parent: Annotated[bool, typer.Option(help="Stop when the parent process dies.")] = False,
) -> None:
    """Everything on this machine: embedded servers if none are configured, migrations, demo town, server, worker."""
    if with_parent:
        die_with_parent(signal.SIGTERM)
    raise typer.Exit(up.run(host, port, processes, seed_town=seed_town))


@app.command()
def serve(host: str = "127.0.0.1", port: int = 8000) -> None:
    """One server process. Start as many as there are cores, behind one address or with `up --processes`."""
    _become("app.serve", "--host", host, "--port", str(port))


@app.command()
def worker() -> None:
    """One worker process: relay, clock and job queue. Start as many as you like."""
    _become("app.jobs.worker")


def _become(module: str, *arguments: str) -> NoReturn:
    """Run the module in the place of this process: it loads only what it needs."""
    settings()  # what is misconfigured is said here, in words
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - this interpreter


def main() -> None:
    try:
        app()
    except (EmbeddedServerError, Misconfigured, up.NotPrepared) as error:
        Console().print(f"[red]{error}")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
