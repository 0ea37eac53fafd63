"""Private files: bytes in the object storage, a row for each, and signed links to read them.

The row is committed before its object is written and removed after its object is gone, so whatever dies in between, no
object is without a row, and `sweep` finds what is left over.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.actor import Actor
from app.core.database import Row, Session, Statement
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.ids import uuid7
from app.kernel import media, subjects
from app.kernel.platform import Platform
from app.models.files import FilePurpose, files
from app.models.users import users
from app.schemas.files import FileLink, StoredFile


class TooManyUnattached(Conflict):
    code, title = "too_many_unattached_files", "Use the files that you have uploaded before uploading more."


class UnknownFile(Unprocessable):
    code, title = "unknown_file", "One of these files is not yours, has another purpose, or is in use already."


# Photos are shown to providers who must not know yet where the customer lives; proofs are kept as they were made.
_REWRITTEN: Final = frozenset({FilePurpose.PHOTO})

_unattached = files.c.subject_id.is_(None)
# One owner's uploads queue up here, so that each is counted by the next.
_LOCK_OWNER = Statement(select(users.c.id).where(users.c.id == bindparam("owner_id")).with_for_update(key_share=True))
_RESERVE = Statement(
    insert(files)
    .from_select(
        ["id", "owner_id", "purpose", "content_type", "size_bytes", "sha256"],
        select(
            *(
                bindparam(name, type_=files.c[name].type)
                for name in ("id", "owner_id", "purpose", "content_type", "size_bytes", "sha256")
            )
        ).where(
            select(func.count())
            .select_from(files)
            .where(files.c.owner_id == bindparam("owner_id"), _unattached)
            .scalar_subquery()
            < bindparam("quota")
        ),
    )
    .returning(files.c.id, files.c.purpose, files.c.content_type, files.c.size_bytes, files.c.created_at)
)
_made = upsert(files).values(
    {
        name: bindparam(name, type_=files.c[name].type)
        for name in (
            "id", "owner_id", "purpose", "content_type", "size_bytes", "sha256", "subject_type", "subject_id",
        )
    }
)  # fmt: skip
_KEEP = Statement(
    _made.on_conflict_do_update(
        index_elements=[files.c.id], set_={name: _made.excluded[name] for name in ("size_bytes", "sha256")}
    )
)
_ATTACH = Statement(
    update(files)
    .where(
        files.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))),
        files.c.owner_id == bindparam("owner_id"),
        files.c.purpose == bindparam("purpose"),
        _unattached,
        files.c.discarded_at.is_(None),
    )
    .values(subject_type=bindparam("subject_type"), subject_id=bindparam("subject_id"))
)
_FIND = Statement(select(*files.c).where(files.c.id == bindparam("file_id"), files.c.discarded_at.is_(None)))
_DISCARD = Statement(
    update(files)
    .where(files.c.id == bindparam("file_id"), files.c.owner_id == bindparam("owner_id"), _unattached)
    .values(discarded_at=func.now())
)
_DISCARD_OLD = Statement(
    update(files)
    .where(
        files.c.id.in_(
            select(files.c.id)
            .where(
                or_(
                    files.c.discarded_at.is_not(None),
                    and_(_unattached, files.c.created_at < func.now() - cast(bindparam("age"), INTERVAL)),
                )
            )
            .limit(literal_column("1000"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(discarded_at=func.now())
    .returning(files.c.id)
)
_REMOVE = Statement(delete(files).where(files.c.id == bindparam("file_id"), files.c.discarded_at.is_not(None)))


async def store(platform: Platform, actor: Actor, purpose: FilePurpose, content: BinaryIO, size: int) -> StoredFile:
    """Check an upload by its content, never by its name, and keep it, attached to nothing yet.

    `UnsupportedMedia` for what is not the kind of file that the purpose admits, `PayloadTooLarge` above the kind's
    limit in bytes or pixels, `TooManyUnattached` above the quota.
    """
    found = await asyncio.to_thread(
        media.inspect,
        platform.settings,
        content,
        size,
        may_be_video=purpose is FilePurpose.PROOF,
        rewritten=purpose in _REWRITTEN,
    )
    file_id = uuid7()
    async with platform.database.write() as session:
        await session.first(_LOCK_OWNER, owner_id=actor.user_id)
        row = await session.first(
            _RESERVE,
            id=file_id,
            owner_id=actor.user_id,
            purpose=purpose.value,
            content_type=found.content_type,
            size_bytes=found.size_bytes,
            sha256=found.sha256,
            quota=platform.settings.files_unattached_per_user,
        )
        if row is None:
            raise TooManyUnattached()
    await platform.storage.put(str(file_id), found.content)
    return StoredFile.model_validate(dict(row))


async def keep(
    platform: Platform,
    purpose: FilePurpose,
    content: bytes,
    content_type: str,
    *,
    file_id: UUID,
    owner_id: UUID,
    subject: tuple[str, UUID],
) -> None:
    """Keep what the platform itself has made, attached to its subject from the beginning.

    The caller names the file, so that whoever tries again after a crash finishes the same one.
    """
    async with platform.database.write_single() as session:
        await session.execute(
            _KEEP,
            id=file_id,
            owner_id=owner_id,
            purpose=purpose.value,
            content_type=content_type,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).digest(),
            subject_type=subject[0],
            subject_id=subject[1],
        )
    await platform.storage.put(str(file_id), content)


async def attach(
    session: Session, actor: Actor, file_ids: list[UUID], purpose: FilePurpose, subject: tuple[str, UUID]
) -> None:
    """Tie the actor's own, unused files to a subject, or raise `UnknownFile`; a compare-and-set on "unattached"."""
    wanted = set(file_ids)
    if not wanted:
        return
    attached = await session.execute(
        _ATTACH,
        ids=list(wanted),
        owner_id=actor.user_id,
        purpose=purpose.value,
        subject_type=subject[0],
        subject_id=subject[1],
    )
    if attached != len(wanted):
        raise UnknownFile()


async def discard(platform: Platform, actor: Actor, file_id: UUID) -> None:
    """Remove the actor's file if it is attached to nothing: its promise to be proof came to nothing."""
    async with platform.database.write_single() as session:
        discarded = await session.execute(_DISCARD, file_id=file_id, owner_id=actor.user_id)
    if discarded:
        await _remove(platform, file_id)


async def sweep(platform: Platform) -> int:
    """Remove files that were discarded, or attached to nothing for too long; how many that were."""
    age = timedelta(seconds=platform.settings.file_unattached_seconds)
    async with platform.database.write_single() as session:
        rows = await session.all(_DISCARD_OLD, age=age)
    for row in rows:
        await _remove(platform, row["id"])
    return len(rows)


async def _remove(platform: Platform, file_id: UUID) -> None:
    await platform.storage.delete(str(file_id))
    async with platform.database.write_single() as session:
        await session.execute(_REMOVE, file_id=file_id)


async def link(platform: Platform, actor: Actor, file_id: UUID) -> FileLink:
    """A signed link for the owner, or for whoever may read the subject's files of this purpose; else `NotFound`."""
    async with platform.database.read() as session:
        row = await session.first(_FIND, file_id=file_id)
        if row is None or not (
            row["owner_id"] == actor.id
            or (
                row["subject_id"] is not None
                and await subjects.may_read(
                    session, actor, row["subject_type"], row["subject_id"], FilePurpose(row["purpose"])
                )
            )
        ):
            raise NotFound()
    expires = int(time.time() + platform.settings.file_link_seconds)
    query = urlencode({"expires": expires, "signature": platform.signatures.sign(str(file_id), str(expires))})
    return FileLink(
        **StoredFile.model_validate(dict(row)).model_dump(),
        url=f"{platform.settings.public_url}/api/v1/files/{file_id}/content?{query}",
        expires_at=datetime.fromtimestamp(expires, UTC),
    )


async def open_link(
    platform: Platform, file_id: UUID, expires: int, signature: str
) -> tuple[Row, AsyncIterator[bytes]]:
    """The file's row and bytes for a link that was signed here and has not expired; else `NotFound`."""
    if expires < time.time() or not platform.signatures.fits(signature, str(file_id), str(expires)):
        raise NotFound()
    async with platform.database.read() as session:
        row = await session.first(_FIND, file_id=file_id)
    if row is None:
        raise NotFound()
    return row, platform.storage.read(str(file_id))
