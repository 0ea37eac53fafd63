"""Sealed columns: personal data at rest, to be sealed anew when the secret keys change (`core/security.py: Seals`)."""

from typing import Final
from uuid import UUID

from sqlalchemy import Table, Uuid, bindparam, select, update

from app.core.database import Statement
from app.kernel.platform import Platform

_RENEWED_TOGETHER: Final = 500


class SealedColumns:
    """The columns of a table, whose key is `id`, that hold what `Seals` has sealed, or NULL."""

    def __init__(self, table: Table, *names: str) -> None:
        self._names = names
        self._next = Statement(
            select(table.c.id, *(table.c[name] for name in names))
            .where(table.c.id > bindparam("after", type_=Uuid))
            .order_by(table.c.id)
            .limit(bindparam("rows"))
            .with_for_update(key_share=True)
        )
        self._store = Statement(
            update(table)
            .where(table.c.id == bindparam("row_id"))
            .values({name: bindparam(name, type_=table.c[name].type) for name in names})
        )

    async def renew(self, platform: Platform) -> int:
        """Seal every value under the first of the secret keys, some hundred rows a transaction; how many there are.

        Each row is locked while it is renewed: a value that changes meanwhile is not overwritten with the old one.
        Raises `Unsealable`, where a key is gone already.
        """
        renew, done, after = platform.seals.renew, 0, UUID(int=0)
        while True:
            async with platform.database.write() as session:
                rows = await session.all(self._next, after=after, rows=_RENEWED_TOGETHER)
                for row in rows:
                    sealed = {name: None if row[name] is None else renew(row[name]) for name in self._names}
                    await session.execute(self._store, row_id=row["id"], **sealed)
            done += len(rows)
            if len(rows) < _RENEWED_TOGETHER:
                return done
            after = rows[-1]["id"]
