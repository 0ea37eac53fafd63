"""Holds money for a job and releases it less commission, as a noun does: each step a transaction that may be repeated.

What the test of escrow's deaths runs as a process of its own, and runs again after each death.
"""

import asyncio
import sys
from uuid import UUID

from app.core.config import settings
from app.core.database import Database
from app.core.money import MoneyMovedBefore
from app.kernel import escrow

AMOUNT = 1_000_00
COMMISSION_BASIS_POINTS = 1000


async def play(subject_id: UUID, payer_id: UUID, seller_id: UUID) -> None:
    subject = ("job", subject_id)
    database = Database(settings(), after_commit=lambda _channel, _users: None)
    try:
        async with database.write() as session:
            await escrow.hold(session, subject, payer_id, AMOUNT, "INR")
    except MoneyMovedBefore:
        print("held before")
    try:
        async with database.write() as session:
            parts = escrow.less_commission(seller_id, AMOUNT, COMMISSION_BASIS_POINTS)
            await escrow.release(session, subject, "INR", parts)
    except (MoneyMovedBefore, escrow.NothingHeld):
        print("released before")
    await database.close()


if __name__ == "__main__":
    asyncio.run(play(*(UUID(argument) for argument in sys.argv[1:])))
