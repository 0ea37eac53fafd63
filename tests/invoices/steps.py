"""Issuing and reading documents in tests."""

import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from app.core.database import Database
from app.core.ids import uuid7
from app.schemas.invoices import Invoice, InvoiceKind, InvoiceLine
from app.services.invoices import issuing
from app.services.invoices.issuing import Buyer, Sale, Seller
from tests.support.world import Person

ZONE: Final = ZoneInfo("Asia/Kolkata")


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
