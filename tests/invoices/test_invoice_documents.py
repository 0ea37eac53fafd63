"""PDFs: the right letters in the right shapes, the same bytes each time, and bounds whatever a name is made of."""

import hashlib
import subprocess
import sys
import time
import unicodedata
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import uharfbuzz
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters import documents
from app.adapters.documents import FACES, FONTS, NAME_LIMIT, Statement, StatementRow
from app.schemas.wallets import STATEMENT_LIMIT
from tests.invoices.steps import ZONE, pages_of, paper, text_of

ROOT = Path(__file__).parents[2]
HINDI = "आपने ₹1,234.50 का भुगतान किया – प्रिया शर्मा, क्षत्रिय"
_RENDER_AGAIN = """
import hashlib
from app.adapters import documents
from tests.invoices.steps import ZONE, paper
print(hashlib.sha256(documents.render(paper("hi"), ZONE)).hexdigest())
"""
HOSTILE = {
    "very long": "A" * 10_000,
    "very long words": "शर्मा " * 3000,
    "one long Hindi word": "क्षत्रिय" * 500,
    "right to left": "שלום عليكم " * 30,
    "overriding direction": "\u202eevil\u202c\u2066\u2067\u2069" * 40,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 50,
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\u2029" * 100,
    "a storm of accents": "Z" + "\u0300\u0301\u0302\u0323" * 5000,
    "a storm of vowel signs": "क" + "\u093f\u094d\u0930" * 5000,
    "joiners": "क्\u200d\u200c" * 2000,
    "nothing but marks": "\u0940" * 500,
    "another script": "தமிழ் 中文 ไทย" * 30,
    "beyond the planes": "\U000f0000\U0010ffff\ufffe" * 100,
    "syntax of PDF": ")) Tj ET /F9 99 Tf (\\) endstream endobj %%EOF" * 20,
    "markup": "**bold** <b>&amp;</b> {nb} {{}}",
    "spaces": "\u00a0\u3000 \t\n" * 500,
}


def statement(rows: int, language: str = "en", **changed: Any) -> Statement:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    known: dict[str, Any] = {
        "issuer": "LocalBazaar",
        "owner": "प्रिया शर्मा",
        "language": language,
        "currency": "INR",
        "first": date(2026, 11, 1),
        "last": date(2026, 11, 30),
        "opening_minor": 100_000,
        "closing_minor": 123_456_789,
        "rows": [
            StatementRow(began + timedelta(minutes=number), f"Lead fee {number}", -5000, 100_000 - number)
            for number in range(rows)
        ],
        "made_at": datetime(2026, 12, 1, tzinfo=UTC),
    }
    return Statement(**known | changed)


@pytest.mark.parametrize("weight", ["Regular", "Bold"])
def test_every_word_of_ours_and_every_letter_of_hindi_has_a_glyph(weight: str) -> None:
    known: set[int] = set()
    for face in FACES:
        with TTFont(FONTS / f"{face}-{weight}.ttf") as font:
            known |= set(font.getBestCmap())
    wanted = (
        {chr(code) for code in range(0x900, 0x980)} | set(HINDI) | set(documents.money(-1, "INR")) | {"\ufffd", "…"}
    )
    for by_language in (documents._WORDS, documents._TITLES):
        wanted |= {character for words in by_language.values() for word in words.values() for character in word}
    wanted |= {character for months in documents._MONTHS.values() for month in months for character in month}
    assert {character for character in wanted if ord(character) not in known} == set()


@pytest.mark.parametrize("weight", ["Regular", "Bold"])
def test_the_fonts_join_consonants_and_put_vowel_signs_where_they_belong(weight: str) -> None:
    face = uharfbuzz.Face(uharfbuzz.Blob.from_file_path(str(FONTS / f"NotoSansDevanagari-{weight}.ttf")))
    font = uharfbuzz.Font(face)
    buffer = uharfbuzz.Buffer()
    buffer.add_str("क्षत्रिय")
    buffer.guess_segment_properties()
    uharfbuzz.shape(font, buffer)
    glyphs = [font.glyph_to_string(info.codepoint) for info in buffer.glyph_infos]
    # eight characters: kssa, the sign of i in front of tra, ya
    assert len(glyphs) == 4
    assert glyphs[1].startswith("ivowelsign")
    assert 0 not in [info.codepoint for info in buffer.glyph_infos]


def test_an_invoice_in_english() -> None:
    pdf = documents.render(paper(), ZONE)
    text = text_of(pdf)
    lines = text.split("\n")
    for wanted in (
        "Invoice",
        "LocalBazaar",
        "Pune 411038",
        "Pipes & Co",
        "Lead: Plumbing",
        "Net",
        "Tax (18%)",
        "Total",
    ):
        assert wanted in lines
    # 20:00 UTC on New Year's Eve is the next year in India
    assert "Date: 1 January 2027" in lines
    assert "Tax number: 27ABCDE1234F1Z5" in lines
    assert [line for line in lines if line.startswith("₹")] == ["₹50.00", "₹50.00", "₹42.37", "₹7.63", "₹50.00"]
    assert not any("\u0900" <= character < "\u0980" for character in text)
    assert (pdf[:8], pdf.rstrip()[-5:], pages_of(pdf)) == (b"%PDF-1.4", b"%%EOF", 1)


def test_a_credit_note_in_hindi() -> None:
    about = {"refers_to": UUID(int=9), "refers_to_number": "LB-2026-000007", "buyer_name": HINDI}
    lines = text_of(documents.render(paper("hi", kind="credit_note", **about), ZONE)).split("\n")
    for wanted in ("क्रेडिट नोट", "संदर्भित बीजक: LB-2026-000007", HINDI, "विवरण", "कर-पूर्व राशि", "कर (18%)", "कुल राशि"):
        assert wanted in lines
    assert "दिनांक: 1 जनवरी 2027" in lines


def test_a_receipt_has_no_tax_line() -> None:
    untaxed: dict[str, Any] = {"tax_basis_points": 0, "tax_minor": 0, "net_minor": 5000}
    lines = text_of(documents.render(paper(kind="receipt", **untaxed), ZONE)).split("\n")
    assert "Receipt" in lines
    assert not {"Net", "Tax (0%)", "Prices include tax."} & set(lines)


def test_the_tax_line_stands_there_at_every_rate() -> None:
    lines = text_of(documents.render(paper(tax_basis_points=0, tax_minor=0, net_minor=5000), ZONE)).split("\n")
    assert {"Net", "Tax (0%)"} <= set(lines)


def test_the_bytes_are_the_same_in_every_process() -> None:
    ours = hashlib.sha256(documents.render(paper("hi"), ZONE)).hexdigest()
    assert hashlib.sha256(documents.render(paper("hi"), ZONE)).hexdigest() == ours
    again = subprocess.run(
        [sys.executable, "-c", _RENDER_AGAIN],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )  # fmt: skip
    assert again.stdout.strip() == ours


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_set_within_bounds(name: str) -> None:
    line = {"description": name, "quantity": 1, "unit_minor": 1, "amount_minor": 1}
    hostile = paper(buyer_name=name, seller_name=name, seller_address=name, seller_tax_id=name, lines=[line] * 3)
    began = time.process_time()
    pdf = documents.render(hostile, ZONE)
    assert time.process_time() - began < 5
    assert pages_of(pdf) <= 2
    assert len(pdf) < 300_000
    assert "Total" in text_of(pdf)


def test_the_largest_invoice_is_bounded() -> None:
    line = {"description": HOSTILE["one long Hindi word"], "quantity": 1, "unit_minor": 10**15, "amount_minor": 10**15}
    began = time.process_time()
    pdf = documents.render(paper("hi", lines=[line] * 100), ZONE)
    print(f"100 lines of {NAME_LIMIT} characters: {time.process_time() - began:.1f} s, {pages_of(pdf)} pages")
    assert pages_of(pdf) <= 12
    assert text_of(pdf).count("विवरण") == pages_of(pdf), "each page has the heads of the columns"


@given(st.text(max_size=600))
@settings(max_examples=300, deadline=None)
def test_what_is_printed_is_short_known_and_flat(given_text: str) -> None:
    printed = documents.printable(given_text)
    assert len(printed) <= NAME_LIMIT
    assert set(printed) - {" "} <= documents._known()
    assert not {character for character in printed if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}}
    assert documents.printable(printed) == printed


@pytest.mark.parametrize("name", ["Asha Kulkarni", "प्रिया शर्मा", "क्षत्रिय & Søn, Łódź", "र्‍य", "O'Brien-Šmíd"])
def test_a_decent_name_is_printed_as_it_is(name: str) -> None:
    assert documents.printable(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "printed"),
    [
        (0, "INR", "₹0.00"), (5, "INR", "₹0.05"), (99_999, "INR", "₹999.99"), (100_000, "INR", "₹1,000.00"),
        (123_450, "INR", "₹1,234.50"), (1_234_567_89, "INR", "₹12,34,567.89"), (-5000, "INR", "−₹50.00"),
        (10**17, "INR", "₹1,00,00,00,00,00,00,000.00"), (700, "GOLD", "7.00 GOLD"),
        (-1_00_000_00, "GOLD", "−1,00,000.00 GOLD"),
    ],
)  # fmt: skip
def test_amounts_are_grouped_as_in_india(amount_minor: int, currency: str, printed: str) -> None:
    assert documents.money(amount_minor, currency) == printed


@given(st.integers(-(10**18), 10**18))
def test_an_amount_is_printed_to_the_last_minor_unit(amount_minor: int) -> None:
    printed = documents.money(amount_minor, "INR")
    assert int(printed.translate(str.maketrans("−", "-", "₹,."))) == amount_minor


@pytest.mark.parametrize(
    ("basis_points", "printed"), [(0, "0%"), (1800, "18%"), (250, "2.5%"), (1, "0.01%"), (10_000, "100%")]
)
def test_rates_are_printed_exactly(basis_points: int, printed: str) -> None:
    assert documents.percent(basis_points) == printed


def test_a_statement_lists_every_movement_between_two_balances() -> None:
    pdf = documents.render_statement(statement(100), ZONE)
    lines = text_of(pdf).split("\n")
    assert [line for line in lines if line.startswith("Lead fee")] == [f"Lead fee {number}" for number in range(100)]
    for wanted in ("Period: 1 November 2026 – 30 November 2026", "प्रिया शर्मा", "2026-11-01 05:30", "−₹50.00"):
        assert wanted in lines
    assert lines[lines.index("Opening balance") + 1 :][:3].count("₹1,000.00") == 1
    assert "₹12,34,567.89" in lines[lines.index("Closing balance") :]
    assert lines.count("Description") == pages_of(pdf) > 1


def test_an_empty_statement_says_so_in_the_readers_language() -> None:
    lines = text_of(documents.render_statement(statement(0, "hi"), ZONE)).split("\n")
    assert {"वॉलेट विवरण", "प्रारंभिक शेष", "अंतिम शेष", "इस अवधि में कोई लेन-देन नहीं हुआ।"} <= set(lines)


def test_a_statement_has_a_largest_size() -> None:
    with pytest.raises(ValueError, match="at most"):
        documents.render_statement(statement(STATEMENT_LIMIT + 1), ZONE)
