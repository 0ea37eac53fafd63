"""Issuing and reading documents in tests."""

import asyncio
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import httpx
from pydantic_core import to_json
from sqlalchemy import text

from app.core.database import Database, Statement
from app.core.ids import uuid7
from app.schemas.invoices import Invoice, InvoiceKind, InvoiceLine
from app.services.invoices import issuing
from app.services.invoices.issuing import Buyer, Sale, Seller
from tests.support.world import Person, World

INVOICES: Final = "/api/v1/invoices"
ZONE: Final = ZoneInfo("Asia/Kolkata")
_JOBS: Final = Statement(text("SELECT entrypoint, payload, priority, status, attempts FROM pgqueuer ORDER BY id"))


def seller(prefix: str = "XY") -> Seller:
    """A seller whom no other test knows."""
    return Seller(uuid4(), prefix, "Meera's Kitchen", "12 Karve Road\nPune 411038", "27ABCDE1234F1Z5")


def sale(buyer: Person, amount_minor: int = 5000, subject: tuple[str, UUID] | None = None) -> Sale:
    line = InvoiceLine(description="A thing", quantity=1, unit_minor=amount_minor, amount_minor=amount_minor)
    return Sale(subject or ("thing", uuid7()), Buyer(buyer.id, "Some Body", "en"), [line], "INR")


async def issue(
    database: Database,
    by: Seller,
    about: Sale,
    kind: InvoiceKind = InvoiceKind.INVOICE,
    *,
    tax_basis_points: int = 0,
) -> Invoice:
    """Issue in a transaction of its own."""
    async with database.write() as session:
        return await issuing.issue(session, kind, by, about, tax_basis_points=tax_basis_points)


async def until(wanted: Callable[[], Awaitable[Any]], within_seconds: float = 20) -> Any:
    """What `wanted` answers, once it is something."""
    end = time.monotonic() + within_seconds
    while not (found := await wanted()):
        assert time.monotonic() < end, "nothing came"
        await asyncio.sleep(0.05)
    return found


async def read_pdf(world: World, person: Person, invoice_id: str) -> httpx.Response:
    link = await person.get(f"{INVOICES}/{invoice_id}/pdf")
    assert link.status_code == 200, link.text
    return await world.http.get(link.json()["url"].removeprefix(world.platform.settings.public_url))


async def read_pdf_when_there(world: World, person: Person, invoice_id: str) -> httpx.Response:
    """Ask for it until it is there: it must not have been the first time."""

    async def is_there() -> bool:
        answer = await person.get(f"{INVOICES}/{invoice_id}/pdf")
        assert answer.status_code == 200 or answer.json()["code"] == "not_rendered_yet", answer.text
        return answer.status_code == 200

    assert not await is_there()
    await until(is_there)
    return await read_pdf(world, person, invoice_id)


async def queued(world: World) -> list[dict[str, Any]]:
    """All jobs, those that run or are held, too."""
    async with world.platform.database.read() as session:
        return [dict(row) for row in await session.all(_JOBS)]


async def renderings(world: World, invoice_id: UUID) -> list[dict[str, Any]]:
    """The jobs that render this document."""
    wanted = {"entrypoint": "render_invoice", "payload": to_json({"invoice_id": invoice_id})}
    return [job for job in await queued(world) if wanted.items() <= job.items()]


def paper(language: str = "en", **changed: Any) -> Invoice:
    """An invoice that is in no database."""
    known: dict[str, Any] = {
        "id": UUID(int=1),
        "kind": "invoice",
        "number": "LB-2026-000123",
        "seller_id": UUID(int=0),
        "seller_name": "LocalBazaar",
        "seller_address": "Paud Road\nPune 411038",
        "seller_tax_id": "27ABCDE1234F1Z5",
        "buyer_id": UUID(int=2),
        "buyer_name": "Pipes & Co",
        "language": language,
        "subject_type": "lead",
        "subject_id": UUID(int=3),
        "lines": [{"description": "Lead: Plumbing", "quantity": 1, "unit_minor": 5000, "amount_minor": 5000}],
        "currency": "INR",
        "net_minor": 4237,
        "tax_basis_points": 1800,
        "tax_minor": 763,
        "total_minor": 5000,
        "issued_at": datetime(2026, 12, 31, 20, 0, tzinfo=UTC),
        "refers_to": None,
        "refers_to_number": None,
        "rendered_at": None,
    }
    return Invoice.model_validate(known | changed)


_TOKENS: Final = re.compile(rb"/(F\d+) [\d.]+ Tf|\(((?:[^()\\]|\\.)*)\)|(?<![^\s])(q|Q|ET)(?![^\s])", re.DOTALL)


def text_of(pdf: bytes) -> str:
    """What stands on the pages, a line for each piece of text, in the order in which they are painted.

    Reads what fpdf2 writes and no more: fonts of two-byte codes with a table of what each means.
    """
    objects = dict(re.findall(rb"(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL))
    fonts: dict[bytes, Mapping[int, str]] = {}
    for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", pdf):
        (table,) = re.findall(rb"/ToUnicode (\d+) 0 R", objects[number])
        fonts[name] = _meanings(_stream(objects[table]))
    said = ""
    for number in re.findall(rb"/Contents (\d+) 0 R", pdf):
        current, saved = b"", list[bytes]()
        for font, codes, operator in _TOKENS.findall(_stream(objects[number])):
            match operator:
                case b"q":
                    saved.append(current)
                case b"Q":
                    current = saved.pop()
                case b"ET":
                    said += "\n"
                case _ if font:
                    current = font
                case _:
                    said += _said(re.sub(rb"\\(.)", _unescaped, codes, flags=re.DOTALL), fonts[current])
    return said


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Contents \d+ 0 R", pdf))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}.get(found[1], found[1])


def _stream(given: bytes) -> bytes:
    content = given.partition(b"stream\n")[2].rpartition(b"\nendstream")[0]
    return zlib.decompress(content) if b"/FlateDecode" in given else content


def _meanings(table: bytes) -> Mapping[int, str]:
    """What each code stands for; the further glyphs of a cluster stand for nothing."""
    return {
        int(code, 16): bytes.fromhex(meaning.decode()).decode("utf-16-be")
        for code, meaning in re.findall(rb"<([0-9A-Fa-f]+)> <([0-9A-Fa-f]+)>\n", table.partition(b"beginbfchar")[2])
    }


def _said(codes: bytes, meanings: Mapping[int, str]) -> str:
    return "".join(meanings.get(int.from_bytes(codes[at : at + 2]), "") for at in range(0, len(codes), 2))
