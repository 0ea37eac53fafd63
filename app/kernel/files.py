"""Private files: bytes in the object storage, a row for each, and signed links to read them.

The row is committed before its object is written and removed after its object is gone, so whatever dies in between, no
object is without a row, and `sweep` finds what is left over.
"""

import hashlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final, Literal, NamedTuple
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

from app.adapters.storage import NoSuchObject
from app.core.actor import Actor
from app.core.config import Settings
from app.core.database import ReadSession, Session, Statement
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.ids import uuid7
from app.core.sql import constants
from app.kernel import images, media, subjects
from app.kernel.images import Order
from app.kernel.locks import lock_account
from app.kernel.platform import Platform
from app.models.files import FilePurpose, UploadPurpose, files
from app.schemas.files import FileLink, StoredFile


class TooManyUnattached(Conflict):
    code, title = "too_many_unattached_files", "Use the files that you have uploaded before uploading more."


class UnknownFile(Unprocessable):
    code, title = "unknown_file", "One of these files is not yours, has another purpose, or is in use already."


class DailyQuotaReached(Conflict):
    code, title = "daily_quota_reached", "You have uploaded as much as you may in a day."


class OpenFile(NamedTuple):
    """What a link opens. The bytes come piece by piece."""

    content_type: str
    size_bytes: int
    pieces: AsyncIterator[bytes]


Part = Literal["content", "thumbnail"]
_PICTURES: Final = ("JPEG", "PNG", "WEBP")


def _rules(settings: Settings, purpose: FilePurpose) -> media.Rules:
    """Photos are shown to providers who must not know yet where the customer lives, and images of a chat to whoever
    takes part; evidence is shown to reviewers, as plain pictures; proofs and documents are kept as they were made,
    because what a camera or a scanner has written into them may be what proves something."""
    match purpose:
        case FilePurpose.EVIDENCE:
            least = settings.evidence_least_pixels_long, settings.evidence_least_pixels_short
            return media.Rules(Order(("JPEG", "PNG"), True, *least))
        case FilePurpose.PHOTO | FilePurpose.CHAT_IMAGE:
            return media.Rules(Order(_PICTURES, rewritten=True))
        case _:
            return media.Rules(Order(_PICTURES, rewritten=False), may_be_video=purpose is FilePurpose.PROOF)


_unattached = files.c.subject_id.is_(None)
_RESERVED: Final = ("id", "owner_id", "purpose", "content_type", "size_bytes", "sha256", "thumbnail_bytes")
_stored_today = (
    select(func.coalesce(func.sum(files.c.size_bytes), literal_column("0")))
    .where(
        files.c.owner_id == bindparam("owner_id"),
        files.c.created_at > func.now() - literal_column("interval '1 day'"),
        files.c.purpose == any_(constants(UploadPurpose)),
    )
    .scalar_subquery()
)
_unattached_count = (
    select(func.count())
    .select_from(files)
    .where(files.c.owner_id == bindparam("owner_id"), _unattached)
    .scalar_subquery()
)
_QUOTA = Statement(select(_unattached_count.label("unattached"), _stored_today.label("stored_today")))
_RESERVE = Statement(
    insert(files)
    .values({name: bindparam(name, type_=files.c[name].type) for name in _RESERVED})
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
    limit in bytes or pixels, `ImageTooSmall`, and `TooManyUnattached` or `DailyQuotaReached` above the quotas.
    """
    settings, rules = platform.settings, _rules(platform.settings, purpose)
    async with platform.database.read() as session:
        # Nobody has images decoded for nothing; how large it becomes shows only then.
        await _refuse_above_quota(session, settings, actor, 0)
    found = await media.inspect(platform.images, settings, content, size, rules, whose=actor.user_id)
    file_id = uuid7()
    async with platform.database.write() as session:
        # One owner's uploads queue up here, so that each is counted by the next.
        await lock_account(session, actor.user_id)
        await _refuse_above_quota(session, settings, actor, found.size_bytes)
        row = await session.first(
            _RESERVE,
            id=file_id,
            owner_id=actor.user_id,
            purpose=purpose.value,
            content_type=found.content_type,
            size_bytes=found.size_bytes,
            sha256=found.sha256,
            thumbnail_bytes=None if found.thumbnail is None else len(found.thumbnail),
        )
    if found.thumbnail is not None:
        await platform.storage.put(_thumbnail_key(file_id), found.thumbnail)
    await platform.storage.put(str(file_id), found.content)
    return StoredFile.model_validate(dict(row or {}))


async def _refuse_above_quota(session: ReadSession, settings: Settings, actor: Actor, size: int) -> None:
    """Under the lock of the owner the answer is still true when the file is counted."""
    used = await session.first(_QUOTA, owner_id=actor.user_id)
    if used is None or used["unattached"] >= settings.files_unattached_per_user:
        raise TooManyUnattached()
    if used["stored_today"] + size > settings.files_bytes_per_user_a_day:
        raise DailyQuotaReached(limit_bytes=settings.files_bytes_per_user_a_day)


def _thumbnail_key(file_id: UUID) -> str:
    return f"{file_id}.thumbnail"


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
    seconds = platform.settings.file_unattached_seconds
    async with platform.database.write_single() as session:
        rows = await session.all(_DISCARD_OLD, age=timedelta(seconds=seconds))
    for row in rows:
        await _remove(platform, row["id"])
    await platform.storage.remove_unfinished(seconds)
    return len(rows)


async def _remove(platform: Platform, file_id: UUID) -> None:
    for key in (_thumbnail_key(file_id), str(file_id)):
        await platform.storage.delete(key)
    async with platform.database.write_single() as session:
        await session.execute(_REMOVE, file_id=file_id)


async def link(platform: Platform, actor: Actor, file_id: UUID) -> FileLink:
    """Signed links for the owner, or for whoever may read the subject's files of this purpose; else `NotFound`."""
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
    return FileLink(
        **StoredFile.model_validate(dict(row)).model_dump(),
        url=_signed(platform, file_id, "content", expires),
        thumbnail_url=None if row["thumbnail_bytes"] is None else _signed(platform, file_id, "thumbnail", expires),
        expires_at=datetime.fromtimestamp(expires, UTC),
    )


def _signed(platform: Platform, file_id: UUID, part: str, expires: int) -> str:
    query = urlencode({"expires": expires, "signature": platform.signatures.sign(str(file_id), part, str(expires))})
    return f"{platform.settings.public_url}/api/v1/files/{file_id}/{part}?{query}"


async def open_link(platform: Platform, file_id: UUID, part: Part, expires: int, signature: str) -> OpenFile:
    """What lies behind a link that was signed here and has not expired; `NotFound`, too, if its object is missing."""
    if expires < time.time() or not platform.signatures.fits(signature, str(file_id), part, str(expires)):
        raise NotFound()
    async with platform.database.read() as session:
        row = await session.first(_FIND, file_id=file_id)
    if row is None or (part == "thumbnail" and row["thumbnail_bytes"] is None):
        raise NotFound()
    try:
        if part == "thumbnail":
            pieces = await platform.storage.open(_thumbnail_key(file_id))
            return OpenFile(images.THUMBNAIL_TYPE, row["thumbnail_bytes"], pieces)
        return OpenFile(row["content_type"], row["size_bytes"], await platform.storage.open(str(file_id)))
    except NoSuchObject as missing:
        raise NotFound() from missing
