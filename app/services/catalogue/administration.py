"""Filling the catalogue from `catalogue.json`: 45 services in English and Hindi (bookings.md: Catalogue)."""

import json
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import Session, Statement
from app.core.ids import uuid7
from app.models.catalogue import categories, services

_FILE: Final = Path(__file__).with_name("catalogue.json")


def _upsert(table: Any, columns: tuple[str, ...]) -> Statement:
    statement = upsert(table).values({name: bindparam(name, type_=table.c[name].type) for name in ("id", *columns)})
    changed = {name: statement.excluded[name] for name in columns if name != "slug"}
    return Statement(statement.on_conflict_do_update(index_elements=["slug"], set_=changed).returning(table.c.id))


_CATEGORY = _upsert(categories, ("slug", "name_en", "name_hi"))
_SERVICE_COLUMNS = (
    "slug", "category_id", "name_en", "name_hi", "description_en", "description_hi", "questions", "lead_fee_minor",
)  # fmt: skip
_SERVICE = _upsert(services, _SERVICE_COLUMNS)


async def fill(session: Session) -> None:
    """Put every category and service in, or bring it up to date; running it again changes nothing else."""
    catalogue = json.loads(_FILE.read_text("utf-8"))
    ids = {
        category["slug"]: await session.scalar(_CATEGORY, id=uuid7(), **category)
        for category in catalogue["categories"]
    }
    for service in catalogue["services"]:
        values = service | {"category_id": ids[service["category"]]}
        await session.scalar(_SERVICE, id=uuid7(), **{name: values[name] for name in _SERVICE_COLUMNS})
