"""Looks at the books while everything burns, and remembers when it burned and when it was quiet."""

import asyncio
import time
from typing import Final

from sqlalchemy import text

from app.core.database import Database, Statement
from app.core.errors import Problem

_SNAPSHOT_SECONDS: Final = 0.05
# One statement sees one snapshot: all postings of the transactions that had committed, and none of the others.
_UNBALANCED: Final = Statement(
    text("""
SELECT currency, sum(amount) AS sum, count(*) AS postings FROM postings GROUP BY currency HAVING sum(amount) <> 0
UNION ALL
SELECT currency, balance, 0 FROM accounts WHERE balance < floor
""")
)


class Watch:
    """Snapshots of the ledger, one every 50 ms."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.snapshots = 0
        self.unanswered = 0
        self.faults: list[str] = []

    async def look(self) -> None:
        """Until cancelled."""
        while True:
            begun = time.monotonic()
            try:
                async with self._database.read() as session:
                    rows = await session.all(_UNBALANCED)
            except Problem:
                self.unanswered += 1
            else:
                self.snapshots += 1
                self.faults += [f"a snapshot of the ledger: {dict(row)}" for row in rows[:10]]
            await asyncio.sleep(max(0.0, _SNAPSHOT_SECONDS - (time.monotonic() - begun)))


class Calendar:
    """When faults happened, by the database's clock, which is this machine's."""

    def __init__(self) -> None:
        self._fires: list[tuple[float, float]] = []
        self._burning_since: float | None = None

    def begin(self) -> None:
        self._burning_since = time.time()

    def finish(self) -> None:
        assert self._burning_since is not None
        self._fires.append((self._burning_since, time.time()))

    def was_quiet(self, begin: float, end: float, recovery_seconds: float) -> bool:
        """Whether no fault began or was being recovered from in between."""
        return all(end < begun or begin > ended + recovery_seconds for begun, ended in self._fires)
