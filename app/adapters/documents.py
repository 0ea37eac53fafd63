"""Documents on paper: invoices, credit notes, receipts and wallet statements as PDF, in English and Hindi.

Shaped by HarfBuzz with the fonts of `app/assets/fonts`. What is given decides the bytes: the same twice. Names come
from strangers, so they are cleaned and cut before they are set, and a document has a largest number of pages.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import MethodReturnValue

from app.core.money import indian
from app.schemas.invoices import Invoice, InvoiceKind
from app.schemas.wallets import STATEMENT_LIMIT

FONTS: Final = Path(__file__).parents[1] / "assets" / "fonts"
FACES: Final = ("NotoSans", "NotoSansDevanagari")
"""The first is tried first, for each character."""
NAME_LIMIT: Final = 120
"""Characters of a name or a description that are printed."""
# One at a time in a process: they compute, and two would only take turns with each other and with everything else.
WRITER: Final = ThreadPoolExecutor(1, thread_name_prefix="documents")
"""Where documents are written."""
_MARKS_LIMIT: Final = 4
"""Accents, vowel signs and joiners on one character; the longest Hindi clusters have three in a row."""
_JOINERS: Final = "\u200c\u200d"
_UNKNOWN: Final = "\ufffd"
_SIGNS: Final = {"INR": "₹"}
_FIGURES: Final = "₹−"
"""What stands before digits and is not ASCII."""

_MONTHS: Final = {
    "en": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December"),
    "hi": ("जनवरी", "फ़रवरी", "मार्च", "अप्रैल", "मई", "जून", "जुलाई", "अगस्त", "सितंबर", "अक्टूबर", "नवंबर", "दिसंबर"),
}  # fmt: skip
_TITLES: Final[Mapping[str, Mapping[InvoiceKind, str]]] = {
    "en": {
        InvoiceKind.INVOICE: "Invoice",
        InvoiceKind.CREDIT_NOTE: "Credit note",
        InvoiceKind.RECEIPT: "Receipt",
    },
    "hi": {
        InvoiceKind.INVOICE: "बीजक",
        InvoiceKind.CREDIT_NOTE: "क्रेडिट नोट",
        InvoiceKind.RECEIPT: "रसीद",
    },
}
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "number": "Number", "date": "Date", "tax_id": "Tax number", "to": "To", "refers_to": "Refers to invoice",
        "description": "Description", "quantity": "Quantity", "unit": "Unit price", "amount": "Amount",
        "net": "Net", "tax": "Tax", "total": "Total", "included": "Prices include tax.",
        "statement": "Wallet statement", "period": "Period", "opening": "Opening balance",
        "closing": "Closing balance", "balance": "Balance", "none": "No movements in this period.", "page": "Page",
    },
    "hi": {
        "number": "संख्या", "date": "दिनांक", "tax_id": "कर पंजीकरण संख्या", "to": "सेवा में", "refers_to": "संदर्भित बीजक",
        "description": "विवरण", "quantity": "मात्रा", "unit": "इकाई मूल्य", "amount": "राशि",
        "net": "कर-पूर्व राशि", "tax": "कर", "total": "कुल राशि", "included": "मूल्यों में कर शामिल है।",
        "statement": "वॉलेट विवरण", "period": "अवधि", "opening": "प्रारंभिक शेष", "closing": "अंतिम शेष",
        "balance": "शेष", "none": "इस अवधि में कोई लेन-देन नहीं हुआ।", "page": "पृष्ठ",
    },
}  # fmt: skip

_LEFT, _RIGHT = "L", "R"
_SIZE: Final = 9
"""Of the letters in a table, in points."""
_Columns = Sequence[tuple[float, str]]
"""Widths in millimetres, 170 together, and how they are aligned; the first one may have several lines."""


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One movement; the amount is signed, and the balance is what it left behind."""

    at: datetime
    description: str
    amount_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A wallet in a period: `last` is its last day. `rows` are the oldest first, and at most `STATEMENT_LIMIT`."""

    issuer: str
    owner: str
    language: str
    currency: str
    first: date
    last: date
    opening_minor: int
    closing_minor: int
    rows: Sequence[StatementRow]
    made_at: datetime


def money(amount_minor: int, currency: str) -> str:
    """Hundredths in Indian grouping: ₹12,34,567.89; the code stands behind the amount of a currency without a sign."""
    whole, hundredths = divmod(abs(amount_minor), 100)
    number = f"{indian(whole)}.{hundredths:02d}"
    sign = "−" if amount_minor < 0 else ""
    return f"{sign}{_SIGNS[currency]}{number}" if currency in _SIGNS else f"{sign}{number} {currency}"


def percent(basis_points: int) -> str:
    """18 %, 2.5 %."""
    whole, rest = divmod(basis_points, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + "%"


def printable(given: str) -> str:
    """Text as it can be set: known characters only, no control over direction or lines, few marks, and not too long."""
    kept: list[str] = []
    marks = 0
    # Cut before it is composed too: composing a storm of marks takes the square of their number.
    for character in unicodedata.normalize("NFC", given[: 4 * NAME_LIMIT]):
        category = unicodedata.category(character)
        if character in _JOINERS or category.startswith("M"):
            marks += 1
            if marks > _MARKS_LIMIT or character not in _known():
                continue
        elif category in {"Cf", "Cs"}:
            continue
        else:
            marks = 0
            if category[0] in "CZ":
                character = " "
            elif character not in _known():
                character = _UNKNOWN
        kept.append(character)
    text = " ".join("".join(kept).split())
    return text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1].rstrip() + "…"


@cache
def _known(faces: tuple[str, ...] = FACES) -> frozenset[str]:
    """Every character that one of the faces has a glyph for."""
    found: set[str] = set()
    for face in faces:
        with TTFont(FONTS / f"{face}-Regular.ttf", lazy=True) as font:
            found |= {chr(code) for code in font.getBestCmap()}
    return frozenset(found)


def _faces(language: str, given: Iterable[str]) -> Sequence[str]:
    """The faces that a document in this language with these texts needs: the second takes longer than all the rest."""
    if language == "en" and _known(FACES[:1]).issuperset("".join(map(printable, given))):
        return FACES[:1]
    return FACES


def render(invoice: Invoice, zone: ZoneInfo) -> bytes:
    """The PDF of an invoice, in its buyer's language, with the date of its issue in this zone."""
    language = invoice.language.value
    words = _WORDS[language]
    title = _TITLES[language][invoice.kind]
    tax_id = f"{words['tax_id']}: {printable(invoice.seller_tax_id)}" if invoice.seller_tax_id else ""
    seller = [invoice.seller_name, *invoice.seller_address.splitlines()[:5], tax_id]
    faces = _faces(language, [*seller, invoice.buyer_name, *(line.description for line in invoice.lines)])
    sheet = _Sheet(language, f"{title} {invoice.number}", invoice.issued_at, faces)
    about = [
        (words["number"], invoice.number),
        (words["date"], _day(invoice.issued_at.astimezone(zone).date(), language)),
    ]
    if invoice.refers_to_number:
        about.append((words["refers_to"], invoice.refers_to_number))
    sheet.head(title, seller[0], seller[1:], about)
    sheet.addressee(words["to"], invoice.buyer_name)
    columns: _Columns = ((80, _LEFT), (22, _RIGHT), (34, _RIGHT), (34, _RIGHT))
    sheet.columns(columns, [words["description"], words["quantity"], words["unit"], words["amount"]])
    for line in invoice.lines:
        amounts = [money(amount, invoice.currency) for amount in (line.unit_minor, line.amount_minor)]
        sheet.row(columns, [line.description, str(line.quantity), *amounts])
    sheet.ln(3)
    taxed = invoice.kind is not InvoiceKind.RECEIPT
    if taxed:
        sheet.total(words["net"], money(invoice.net_minor, invoice.currency))
        tax = f"{words['tax']} ({percent(invoice.tax_basis_points)})"
        sheet.total(tax, money(invoice.tax_minor, invoice.currency))
    sheet.total(words["total"], money(invoice.total_minor, invoice.currency), strong=True)
    if taxed and invoice.tax_basis_points:
        sheet.remark(words["included"])
    return bytes(sheet.output())


def render_statement(statement: Statement, zone: ZoneInfo) -> bytes:
    """The PDF of a wallet's movements in a period, with times in this zone. ValueError for too many rows."""
    if len(statement.rows) > STATEMENT_LIMIT:
        raise ValueError(f"a statement has at most {STATEMENT_LIMIT} rows, not {len(statement.rows)}")
    language, currency = statement.language, statement.currency
    words = _WORDS[language]
    faces = _faces(language, [statement.issuer, statement.owner, *(row.description for row in statement.rows)])
    sheet = _Sheet(language, words["statement"], statement.made_at, faces)
    period = f"{_day(statement.first, language)} – {_day(statement.last, language)}"
    sheet.head(words["statement"], statement.issuer, [], [(words["period"], period)])
    sheet.addressee(words["to"], statement.owner)
    columns: _Columns = ((70, _LEFT), (32, _LEFT), (34, _RIGHT), (34, _RIGHT))
    sheet.columns(columns, [words["description"], words["date"], words["amount"], words["balance"]])
    sheet.row(columns, [words["opening"], "", "", money(statement.opening_minor, currency)])
    for row in statement.rows:
        amounts = [money(amount, currency) for amount in (row.amount_minor, row.balance_minor)]
        sheet.row(columns, [row.description, f"{row.at.astimezone(zone):%Y-%m-%d %H:%M}", *amounts])
    sheet.total(words["closing"], money(statement.closing_minor, currency), strong=True)
    if not statement.rows:
        sheet.remark(words["none"])
    return bytes(sheet.output())


def _day(day: date, language: str) -> str:
    return f"{day.day} {_MONTHS[language][day.month - 1]} {day.year}"


class _Sheet(FPDF):
    """A4 with margins of 20 mm; the heads of the columns come again on each page."""

    def __init__(self, language: str, title: str, made_at: datetime, faces: Sequence[str]) -> None:
        super().__init__(format="A4")
        self._words = _WORDS[language]
        self._heads: tuple[_Columns, Sequence[str]] | None = None
        self.set_creation_date(made_at)
        self.set_title(title)
        self.set_lang(language)
        self.set_margins(20, 18)
        self.set_auto_page_break(auto=True, margin=24)
        for face in faces:
            self.add_font(face, "", FONTS / f"{face}-Regular.ttf")
            self.add_font(face, "B", FONTS / f"{face}-Bold.ttf")
        self.set_fallback_fonts(list(faces[1:]), exact_match=False)
        self.set_text_shaping(use_shaping_engine=True)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-16)
        self._say(f"{self._words['page']} {self.page_no()}", size=8, align=_RIGHT)

    def head(self, title: str, issuer: str, below: Sequence[str], about: Sequence[tuple[str, str]]) -> None:
        """Who issues what on the left, its particulars on the right."""
        self._say(title, size=20, strong=True)
        self.ln(4)
        top = self.get_y()
        self._say(printable(issuer), size=11, strong=True, width=85)
        for line in below:
            self._say(printable(line), width=85)
        bottom = self.get_y()
        self.set_y(top)
        for label, value in about:
            self.set_x(110)
            self._say(f"{label}: {value}", width=80, align=_RIGHT)
        self.set_y(max(bottom, self.get_y()) + 8)

    def addressee(self, label: str, name: str) -> None:
        self._say(label, size=8)
        self._say(printable(name), size=11, strong=True)
        self.ln(8)

    def columns(self, columns: _Columns, heads: Sequence[str]) -> None:
        """Begin a table."""
        self._heads = (columns, heads)
        self._cells(columns, heads, strong=True)
        self.line(self.l_margin, self.get_y() + 1, self.w - self.r_margin, self.get_y() + 1)
        self.ln(3)

    def row(self, columns: _Columns, texts: Sequence[str]) -> None:
        """A row of the table; the first text may be a stranger's."""
        self._cells(columns, [printable(texts[0]), *texts[1:]])
        self.ln(1.5)

    def total(self, label: str, amount: str, *, strong: bool = False) -> None:
        if strong:
            self.ln(1)
            self.line(100, self.get_y(), self.w - self.r_margin, self.get_y())
        self.ln(1)
        self._cells(((136, _RIGHT), (34, _RIGHT)), [label, amount], strong=strong)

    def remark(self, text: str) -> None:
        self.ln(6)
        self._say(text, size=8)

    def add_page(self, *given: Any, **named: Any) -> None:
        super().add_page(*given, **named)
        self._note_font()

    def _use(self, size: float, *, strong: bool) -> None:
        self.set_font(FACES[0], "B" if strong else "", size)
        self._note_font()

    def _note_font(self) -> None:
        """fpdf2 may note a font within a state that it restores, and take it for noted afterwards: note it outside."""
        if self.current_font is not None:
            self._out(self._set_font_for_page(self.current_font, self.font_size_pt))

    def _say(self, text: str, *, size: float = 9, strong: bool = False, width: float = 0, align: str = _LEFT) -> None:
        self._use(size, strong=strong)
        self.multi_cell(width, size * 0.52, text, align=align, new_x="LMARGIN", new_y="NEXT")

    def _cells(self, columns: _Columns, texts: Sequence[str], *, strong: bool = False) -> None:
        self._use(_SIZE, strong=strong)
        height, (width, align) = 5.0, columns[0]
        # Finding out where lines break costs several times as much as finding out that none has to.
        fits = self.get_string_width(texts[0]) <= width - 2 * self.c_margin
        if self.will_page_break(height * (1 if fits else self._count_lines(width, texts[0]))):
            self.add_page()
            if self._heads is not None:
                self.columns(*self._heads)
                self._use(_SIZE, strong=strong)
        top = self.get_y()
        if fits:
            self.cell(width, height, texts[0], align=align, new_x="LMARGIN", new_y="NEXT")
        else:
            self.multi_cell(width, height, texts[0], align=align, new_x="LMARGIN", new_y="NEXT")
        bottom = self.get_y()
        self.set_xy(self.l_margin + width, top)
        for (each, towards), text in zip(columns[1:], texts[1:], strict=True):
            self._cell(each, height, text, towards)
        self.set_xy(self.l_margin, bottom)

    def _cell(self, width: float, height: float, text: str, align: str) -> None:
        """One line, smaller than the others if it would not fit."""
        # Digits are set as they come, and most of a long statement is digits.
        self.set_text_shaping(use_shaping_engine=not text.strip(_FIGURES).isascii())
        room, needed, size = width - 2 * self.c_margin, self.get_string_width(text), self.font_size_pt
        if needed > room:
            self.set_font_size(size * room / needed)
            self._note_font()
        self.cell(width, height, text, align=align)
        if needed > room:
            self.set_font_size(size)
            self._note_font()
        self.set_text_shaping(use_shaping_engine=True)

    def _count_lines(self, width: float, text: str) -> int:
        lines = self.multi_cell(width, text=text, dry_run=True, output=MethodReturnValue.LINES)
        return len(cast(list[str], lines))
