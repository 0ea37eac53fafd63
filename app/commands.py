"""The commands of `localbazaar` that work with the product in their own process: they load all of it."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app import prepare, up
from app.core.config import Settings, settings
from app.core.embedded import embedded_servers
from app.kernel import ledger
from app.kernel.documentation import event_page, lifecycle_page
from app.kernel.platform import open_platform
from app.main import create_app
from app.migrate import migrate as migrate_database
from app.models.users import Role
from app.schemas.users import Register
from app.services.payouts import profiles as payout_profiles
from app.services.users import accounts
from app.services.webhook_endpoints import endpoints as webhook_endpoints
from app.ws.asyncapi import document as asyncapi_document

app = typer.Typer(add_completion=False)
ledger_commands = typer.Typer(no_args_is_help=True, help="The books.")
app.add_typer(ledger_commands, name="ledger")
console = Console()


@contextmanager
def _servers() -> Iterator[Settings]:
    """The configured database and Valkey, or embedded ones for as long as the command runs.

    While `localbazaar up` runs, its embedded servers are used.
    """
    configured = settings()
    if configured.database_url and configured.redis_url:
        yield configured
        return
    running = up.running_servers(configured)
    if running is not None:
        os.environ |= running
        settings.cache_clear()
        yield settings()
        return
    with embedded_servers(configured.data_folder) as servers:
        os.environ |= {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
        settings.cache_clear()
        yield settings()


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    with _servers() as configured:
        migrate_database(configured)


@app.command()
def seed() -> None:
    """Bring the catalogue up to date; in development, also make the demo town if the database is empty."""
    with _servers() as configured:
        migrate_database(configured)
        made = asyncio.run(prepare.seed(configured))
        console.print("The catalogue is up to date." + (" The demo town was made." if made else ""))


@app.command("create-admin")
def create_admin(
    name: str,
    email: str,
    phone: str,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Make an account that may do everything; its owner needs no codes."""
    wanted = Register(name=name, email=email, phone=phone, password=password)

    async def create(configured: Settings) -> None:
        async with open_platform(configured) as platform:
            password_hash = await platform.passwords.hash(password)
            async with platform.database.write() as session:
                user_id = await accounts.create_verified(session, wanted, password_hash)
                await accounts.grant(session, user_id, Role.ADMIN)

    with _servers() as configured:
        asyncio.run(create(configured))
    console.print(f"{wanted.email} is an admin.")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    json.dump(create_app().openapi(), sys.stdout, indent=2, ensure_ascii=False)
    print()


@app.command()
def asyncapi(to: Annotated[Path | None, typer.Option(help="A file, instead of the terminal.")] = None) -> None:
    """Print the AsyncAPI document of the socket, or write it to a file."""
    made = asyncapi_document(settings().public_url, create_app().version)
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if to is None:
        sys.stdout.write(text)
    else:
        to.write_text(text, "utf-8")


@app.command()
def docs(folder: Path = Path("docs"), check: bool = False) -> None:
    """Write the pages that are generated from the declared tables; with --check, fail if one is out of date."""
    create_app()
    stale = False
    for name, page in (("lifecycles.md", lifecycle_page()), ("event-catalogue.md", event_page())):
        path = folder / name
        if check and (not path.exists() or path.read_text("utf-8") != page):
            console.print(f"{path} is out of date: run `localbazaar docs`")
            stale = True
        elif not check:
            path.write_text(page, "utf-8")
    raise typer.Exit(1 if stale else 0)


@app.command("reseal")
def reseal_personal_data() -> None:
    """Seal what is stored sealed under the first of the secret keys: before an old key is taken away."""

    async def reseal(configured: Settings) -> tuple[int, int]:
        async with open_platform(configured) as platform:
            return await payout_profiles.reseal(platform), await webhook_endpoints.reseal(platform)

    with _servers() as configured:
        accounts, endpoints = asyncio.run(reseal(configured))
    console.print(f"{accounts} bank accounts and the secrets of {endpoints} webhook endpoints are sealed under it.")


@ledger_commands.command("verify")
def verify_ledger() -> None:
    """Prove the books: entries balance, balances are the sums of postings, no wallet is below zero, no debt below its
    floor, and nothing is held for what has come to its end.
    """

    async def verify(configured: Settings) -> ledger.Verification:
        async with open_platform(configured) as platform, platform.database.read() as session:
            return await ledger.verify(session)

    with _servers() as configured:
        found = asyncio.run(verify(configured))
    table = Table("currency", "postings", "sum", title="The books")
    for total in found.totals:
        table.add_row(total["currency"], str(total["postings"]), str(total["sum"]))
    console.print(table)
    for fault in found.faults:
        console.print(f"[red]{fault}")
    console.print("[green]clean" if not found.faults else f"[red]{len(found.faults)} faults")
    raise typer.Exit(1 if found.faults else 0)
