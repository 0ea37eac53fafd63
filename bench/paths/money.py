"""Wallets, payments through the sandbox, payouts and invoices."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from app.core.money import PLATFORM
from bench.paths.asking import COUNT, Question, person
from bench.paths.town import Town, in_turn
from bench.work import CURRENCY

_EACH: Final = 50
"""Payments, payouts and invoices that everybody has already."""
_AMOUNT_MINOR: Final = 200_00
_PAYMENTS: Final = """
INSERT INTO payments (id, payer_id, purpose, provider, status, amount_minor, currency, return_url)
SELECT uuidv7(), payer_id, 'top_up', 'sandbox', 'CREATED', $3::bigint, $4, 'http://127.0.0.1:8000'
FROM generate_series(1, $2::int), unnest($1::uuid[]) AS payer_id
RETURNING id, payer_id AS user_id
"""
_PAYOUTS: Final = """
WITH profiles AS (
    INSERT INTO payout_profiles (id, status, holder_name, ifsc, sealed_account_number, account_last4, currency)
    SELECT id, 'verified', 'A Person', 'SBIN0001234', '', '6789', $4 FROM unnest($1::uuid[]) AS id
)
INSERT INTO payouts (id, owner_id, status, amount_minor, currency, holder_name, ifsc, account_last4, profile_revision,
                     reference, sent_at)
SELECT uuidv7(), owner_id, 'SENT', $3::bigint, $4, 'A Person', 'SBIN0001234', '6789', 1, 'UTR1234', now()
FROM generate_series(1, $2::int), unnest($1::uuid[]) AS owner_id
RETURNING id, owner_id AS user_id
"""
# Numbered in a year in which the product issues none itself.
_INVOICES: Final = """
WITH buyers AS (
    SELECT buyer_id, row_number() OVER ()::int AS n FROM generate_series(1, $2::int), unnest($1::uuid[]) AS buyer_id
)
INSERT INTO invoices (id, kind, number, seller_id, seller_name, seller_address, seller_tax_id, buyer_id, buyer_name,
                      language, subject_type, subject_id, lines, currency, net_minor, tax_basis_points, tax_minor,
                      total_minor, issued_at, year, sequence)
SELECT uuidv7(), 'receipt', 'LB/2001/' || n, $5, 'LocalBazaar', '', '', buyer_id, 'A Person', 'en', 'payment', uuidv7(),
       jsonb_build_array(jsonb_build_object('description', 'Top-up', 'quantity', 1, 'unit_minor', $3::bigint,
                                            'amount_minor', $3::bigint)),
       $4, $3::bigint, 0, 0, $3::bigint, now(), 2001, n
FROM buyers
RETURNING id, buyer_id AS user_id
"""


class _Own(NamedTuple):
    """A payment, a payout or an invoice, and whose it is."""

    id: UUID
    user_id: UUID


async def questions(town: Town) -> Sequence[Question]:
    customers, providers = ([each.id for each in people] for people in (town.world.customers, town.world.providers))
    made = (_EACH, _AMOUNT_MINOR, CURRENCY)
    payments, payouts, invoices = (
        [_Own(**row) for row in rows[:COUNT]]
        for rows in (
            await town.fetch(_PAYMENTS, customers, *made),
            await town.fetch(_PAYOUTS, providers, *made),
            await town.fetch(_INVOICES, customers, *made, PLATFORM),
        )
    )
    user, provider = person(town.world, "user_id"), person(town.world, "user_id", "provider")
    customers_in_turn, providers_in_turn = (
        in_turn(people, COUNT) for people in (town.world.customers, town.world.providers)
    )
    each_provider = in_turn(town.world.providers, len(providers))
    top_up = {"purpose": "top_up", "amount_minor": _AMOUNT_MINOR, "currency": CURRENCY}
    return [
        Question("wallet", provider.get("wallet"), providers_in_turn),
        Question("wallet statement", provider.get("wallet/entries"), providers_in_turn),
        Question("start a top-up", user.post("payments", top_up, once=True), customers_in_turn),
        Question("open the checkout", user.post("payments/{id}/checkout"), payments),
        Question("read a payment", user.get("payments/{id}"), payments),
        Question("give a payment up", user.post("payments/{id}/cancel"), payments),
        Question("own payments", user.get("payments"), customers_in_turn),
        Question("payout profile", provider.get("me/payout-profile"), providers_in_turn),
        Question(
            "ask for a payout", provider.post("payouts", {"amount_minor": _AMOUNT_MINOR}, once=True), each_provider
        ),
        Question("read a payout", provider.get("payouts/{id}"), payouts),
        Question("own payouts", provider.get("payouts"), providers_in_turn),
        Question("read an invoice", user.get("invoices/{id}"), invoices),
        Question("own invoices", user.get("invoices"), customers_in_turn),
    ]
