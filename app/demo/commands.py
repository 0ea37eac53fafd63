"""`localbazaar demo`: it talks to a running server and has nothing of the product in itself."""

import asyncio

import typer
from rich.console import Console

from app.demo import leads, work_order

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Play a whole flow against a running server.")
console = Console()


@app.command("leads")
def demo_leads(url: str = "http://127.0.0.1:8000") -> None:
    """Sign up a customer, post a request, let five providers buy the lead and race to complete it."""
    raise typer.Exit(asyncio.run(leads.play(url, console)))


@app.command("work-order")
def demo_work_order(url: str = "http://127.0.0.1:8000") -> None:
    """Buy work, have it done, rejected, handed in again and approved, and show where the money is at each step."""
    raise typer.Exit(asyncio.run(work_order.play(url, console)))
