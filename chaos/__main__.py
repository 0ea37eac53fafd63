"""`python -m chaos`: set the house on fire and print the verdict; the exit code is 0 if it is clean."""

import argparse
import asyncio
import secrets
import time

from rich.console import Console
from rich.table import Table

from chaos.flows import FLOWS
from chaos.run import Found, run

_SHOWN = 50


def show(found: Found, console: Console) -> None:
    """Seed, what happened, what was counted, and the verdict."""
    table = Table(title=f"seed {found.seed}, {found.seconds:.0f} s", title_justify="left")
    table.add_column("what")
    table.add_column("how often", justify="right")
    for name, count in (*sorted(found.happened.items()), *found.deaths.items()):
        table.add_row(name.replace("_", " "), str(count))
    table.add_section()
    for name, count in found.stories.items():
        table.add_row(f"stories of {name}", str(count))
    for name, value in found.figures.items():
        table.add_row(name, str(value))
    console.print(table)
    for fault in found.faults[:_SHOWN]:
        console.print(f"[red]{fault}", markup=True, highlight=False)
    if found.faults:
        console.print(f"[red]verdict: {len(found.faults)} broken promises; logs and data are in {found.logs}")
    else:
        console.print("[green]verdict: clean")


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--flow", action="append", choices=[flow.name for flow in FLOWS], default=[])
    wanted = parser.parse_args()
    console = Console()
    console.print(f"seed {wanted.seed}")
    began = time.monotonic()

    def tell(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {what}", highlight=False)

    found = asyncio.run(run(wanted.seed, wanted.minutes * 60, wanted.flow, tell=tell))
    show(found, console)
    return 1 if found.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
