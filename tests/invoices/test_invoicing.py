"""What is documented, from the sale to the PDF: lead fees, their refunds, top-ups (money.md: Invoices and receipts)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest

from app.core.config import Settings, settings
from app.models.users import Role
from app.services.flows import invoicing
from app.services.invoices import rendering
from app.services.payments.events import Succeeded
from app.services.service_requests.events import LeadPurchased, LeadRefunded
from app.services.wallets.events import ToppedUp
from tests.invoices.steps import (
    INVOICES,
    ZONE,
    issue,
    read_pdf,
    read_pdf_when_there,
    sale,
    seller,
    text_of,
    until,
)
from tests.payments.steps import paid, top_up
from tests.support.world import Person, World

FEE = 5000


async def document(world: World, event: str, subject_id: str | UUID) -> Any:
    """What the job does for an event."""
    async with world.platform.database.write() as session:
        return await invoicing.document(session, event, UUID(str(subject_id)))


async def bought(world: World, *, language: str = "en") -> tuple[Person, Person, str, str]:
    """A customer, a provider who bought the lead, the request and the lead."""
    customer, request_id, (provider,) = await world.lead()
    if language != "en":
        assert (await provider.call("PATCH", "/api/v1/me", json={"language": language})).status_code == 200
    (lead,) = await world.rows("lead_purchases", provider_id=provider.id)
    return customer, provider, request_id, str(lead["id"])


async def listed(person: Person, **filters: Any) -> list[dict[str, Any]]:
    answer = await person.get(INVOICES, params=filters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_from_the_purchase_to_the_pdf_and_back_to_the_credit_note(world: World, working: None) -> None:
    # Given a worker; when a provider buys a lead
    customer, provider, request_id, lead_id = await bought(world)
    # Then the platform's invoice comes, and its PDF when it is asked for
    (invoice,) = await until(lambda: listed(provider, kind="invoice"))
    assert (invoice["subject_type"], invoice["subject_id"]) == ("lead", lead_id)
    assert (invoice["net_minor"], invoice["tax_minor"], invoice["total_minor"]) == (FEE, 0, FEE)
    assert (invoice["seller_id"], invoice["seller_name"]) == (str(UUID(int=0)), "LocalBazaar")
    assert invoice["lines"] == [
        {"description": "Lead: Plumbing", "quantity": 1, "unit_minor": FEE, "amount_minor": FEE}
    ]
    answer = await read_pdf_when_there(world, provider, invoice["id"])
    assert answer.headers["content-type"] == "application/pdf"
    assert {"Invoice", f"Number: {invoice['number']}", "Pipes & Co", "₹50.00"} <= set(
        text_of(answer.content).split("\n")
    )
    # and the receipt for the money that paid it
    (receipt,) = await until(lambda: listed(provider, kind="receipt"))
    assert receipt["total_minor"] == 1_000_00
    assert (await read_pdf_when_there(world, provider, receipt["id"])).content[:5] == b"%PDF-"
    assert [each["rendered_at"] is not None for each in await listed(provider)] == [True, True]
    # When the customer cancels before anybody worked
    cancelled = await customer.post(f"/api/v1/service-requests/{request_id}/cancel", {"reason": "I mended it myself"})
    assert cancelled.status_code == 200
    # Then a credit note takes the invoice back
    (note,) = await until(lambda: listed(provider, kind="credit_note"))
    assert (note["refers_to"], note["refers_to_number"]) == (invoice["id"], invoice["number"])
    assert (note["total_minor"], note["lines"]) == (FEE, invoice["lines"])
    lines = text_of((await read_pdf_when_there(world, provider, note["id"])).content).split("\n")
    assert {"Credit note", f"Refers to invoice: {invoice['number']}"} <= set(lines)
    assert await listed(customer) == []


async def test_an_accepted_report_is_credited(world: World) -> None:
    _, provider, _, lead_id = await bought(world)
    await provider.post(f"/api/v1/leads/{lead_id}/report", {"reason": "spam", "note": "An advertisement."})
    await world.support.post(f"/api/v1/leads/{lead_id}/accept-report", {"reason": "Right."})
    assert (await world.told(lead_id))[-1][0] == LeadRefunded.name
    note = await document(world, LeadRefunded.name, lead_id)
    assert (note.kind, note.total_minor) == ("credit_note", FEE)


async def test_a_refund_that_comes_before_its_purchase_is_documented_is_documented_with_it(world: World) -> None:
    """Jobs have no order."""
    _, provider, _, lead_id = await bought(world)
    note = await document(world, LeadRefunded.name, lead_id)
    invoice = await document(world, LeadPurchased.name, lead_id)
    assert note.refers_to == invoice.id
    assert len(await listed(provider, kind="invoice")) == 1


@pytest.mark.parametrize("times", [2, 20])
async def test_a_job_that_runs_again_issues_nothing_again(world: World, times: int) -> None:
    _, provider, _, lead_id = await bought(world)
    found = await asyncio.gather(*(document(world, LeadPurchased.name, lead_id) for _ in range(times)))
    assert len({each.id for each in found}) == 1
    async with world.unchanged():
        await document(world, LeadPurchased.name, lead_id)
    assert len(await listed(provider)) == 1


async def test_a_free_lead_is_not_invoiced(world: World) -> None:
    _, _, _, lead_id = await bought(world)
    await world.execute("UPDATE lead_purchases SET fee_minor = 0 WHERE id = cast(:id AS uuid)", id=lead_id)
    async with world.unchanged():
        assert await document(world, LeadPurchased.name, lead_id) is None
        assert await document(world, LeadRefunded.name, lead_id) is None


async def test_a_top_up_is_told_to_its_owner_and_receipted(world: World) -> None:
    person = await world.person(name="Asha Kulkarni")
    body = {"amount_minor": 12_345, "reason": "cash at the desk"}
    assert (await world.admin.post(f"/api/v1/admin/users/{person.id}/top-ups", body)).status_code == 201
    (entry,) = await world.rows("entries", subject_id=person.id)
    assert await world.told(str(entry["id"])) == [(ToppedUp.name, {person.id})]
    receipt = await document(world, ToppedUp.name, entry["id"])
    assert (receipt.kind, receipt.buyer_name, receipt.total_minor) == ("receipt", "Asha Kulkarni", 12_345)
    assert (receipt.tax_minor, receipt.tax_basis_points) == (0, 0)


async def test_a_payment_is_receipted_once_with_what_was_taken(world: World) -> None:
    person = await world.person(name="Asha Kulkarni")
    payment = await top_up(person, 250_00)
    # Given a payment that has not arrived, then there is nothing to receipt
    assert await document(world, Succeeded.name, payment["id"]) is None
    # When it has
    await paid(world, payment)
    receipt = await document(world, Succeeded.name, payment["id"])
    # Then
    assert (receipt.kind, receipt.buyer_name, receipt.total_minor) == ("receipt", "Asha Kulkarni", 250_00)
    assert (await document(world, Succeeded.name, payment["id"])).id == receipt.id


async def test_the_rate_is_frozen_and_a_receipt_bears_none(world: World, configured: Settings) -> None:
    taxed = configured.model_copy(update={"invoice_tax_basis_points": 1800, "invoice_seller_tax_id": "27ABCDE1234F1Z5"})
    _, _, _, lead_id = await bought(world)
    with (
        patch.object(invoicing, "settings", lambda: taxed),
        patch("app.services.invoices.issuing.settings", lambda: taxed),
    ):
        invoice = await document(world, LeadPurchased.name, lead_id)
    assert (invoice.net_minor, invoice.tax_minor, invoice.seller_tax_id) == (4237, 763, "27ABCDE1234F1Z5")
    # When the rate is another one, the credit note still takes back what was charged
    assert settings().invoice_tax_basis_points == 0
    note = await document(world, LeadRefunded.name, lead_id)
    assert (note.net_minor, note.tax_minor, note.tax_basis_points) == (4237, 763, 1800)


async def test_documents_speak_the_buyers_language(world: World) -> None:
    _, provider, _, lead_id = await bought(world, language="hi")
    invoice = await document(world, LeadPurchased.name, lead_id)
    assert invoice.lines[0].description.startswith("लीड: ")
    await rendering.render(world.platform, invoice.id)
    lines = text_of((await read_pdf(world, provider, str(invoice.id))).content).split("\n")
    assert {"बीजक", "कुल राशि", invoice.lines[0].description} <= set(lines)


@pytest.mark.parametrize("role", [None, Role.PROVIDER, Role.MANAGER])
async def test_a_strangers_document_does_not_exist(world: World, role: Role | None) -> None:
    invoice = await issue(world.platform.database, seller(), sale(await world.person()))
    await rendering.render(world.platform, invoice.id)
    stranger = await world.person(*([role] if role else []))
    for path in (f"{INVOICES}/{invoice.id}", f"{INVOICES}/{invoice.id}/pdf", f"/api/v1/files/{invoice.id}"):
        assert (await stranger.get(path)).status_code == 404
        assert (await world.http.get(path)).status_code == 401
    assert await listed(stranger) == []
    assert (await stranger.get("/api/v1/admin/invoices")).status_code == 403


async def test_buyer_seller_support_and_admin_read_it(world: World) -> None:
    buyer, owner = await world.person(), await world.person()
    invoice = await issue(world.platform.database, replace(seller(), id=owner.id), sale(buyer))
    await rendering.render(world.platform, invoice.id)
    for reader in (buyer, owner, world.support, world.admin):
        answer = await reader.get(f"{INVOICES}/{invoice.id}")
        assert (answer.status_code, answer.json()["number"]) == (200, invoice.number)
        assert (await read_pdf(world, reader, str(invoice.id))).status_code == 200
    assert [each["id"] for each in await listed(owner)] == [str(invoice.id)]
    for staff in (world.support, world.admin):
        answer = await staff.get("/api/v1/admin/invoices", params={"buyer_id": str(buyer.id)})
        assert [each["id"] for each in answer.json()["items"]] == [str(invoice.id)]


async def test_the_list_pages_through_what_one_bought_and_sold_once(world: World) -> None:
    # Given somebody who bought, sold, and did both at once
    person, other = await world.person(), await world.person()
    own = replace(seller(), id=person.id)
    database = world.platform.database
    made = [
        await issue(database, *pair)
        for pair in [(seller(), sale(person)), (own, sale(other)), (own, sale(person)), (own, sale(other)),
                     (seller(), sale(person))]
    ]  # fmt: skip
    await issue(database, seller(), sale(other))
    # When
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await person.get(INVOICES, params={"limit": 2} | cursor)).json()
        seen += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    # Then
    assert seen == [str(invoice.id) for invoice in reversed(made)]


async def test_the_list_is_filtered_by_kind_and_year(world: World) -> None:
    person = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(person))
    year = datetime.now(UTC).astimezone(ZONE).year
    assert [each["id"] for each in await listed(person, kind="invoice", year=year)] == [str(invoice.id)]
    assert await listed(person, kind="receipt") == await listed(person, year=year - 1) == []
    assert (await person.get(INVOICES, params={"kind": "bill"})).status_code == 422
