"""What an upload is, told by its content and never by its name: images are decoded, videos are walked through."""

import asyncio
import hashlib
import io
from typing import BinaryIO, Final, NamedTuple
from uuid import UUID

from app.core.config import Settings
from app.core.errors import PayloadTooLarge
from app.kernel.images import Images, Order

_VIDEO_BRANDS: Final = (b"iso", b"mp4", b"avc", b"M4V", b"MSNV", b"dash", b"3gp", b"3g2", b"cmf", b"XAVC", b"qt  ")
_BOX_LIMIT: Final = 10_000
_EBML, _SEGMENT, _WEBM = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x42\x82\x84webm"


class Media(NamedTuple):
    """An upload that was found to be what it may be; `content` is what is to be kept."""

    content: BinaryIO
    content_type: str
    size_bytes: int
    sha256: bytes
    thumbnail: bytes | None


class Rules(NamedTuple):
    """What an upload may be, and whether a picture is kept as it was made (`Order.rewritten`)."""

    order: Order
    may_be_video: bool = False


async def inspect(
    images: Images, settings: Settings, content: BinaryIO, size: int, rules: Rules, *, whose: UUID
) -> Media:
    """Check an upload of this owner's.

    Pictures that are encoded anew lose what cameras write into them, such as the place where they stood, and whatever
    else is hidden in the file. Raises `UnsupportedMedia` for what is no picture of these kinds, nor a video where one
    may be, `PayloadTooLarge` above the kind's limit in bytes or pixels, and `ImageTooSmall`.
    """
    content_type = await asyncio.to_thread(_video_type, content, size) if rules.may_be_video else None
    limit = settings.image_limit_bytes if content_type is None else settings.video_limit_bytes
    if size > limit:
        raise PayloadTooLarge(limit_bytes=limit)
    thumbnail = None
    if content_type is None:
        picture = await images.read(rules.order, content, size, whose=whose)
        content_type, thumbnail = picture.content_type, picture.thumbnail
        if rules.order.rewritten:
            content, size = io.BytesIO(picture.content), len(picture.content)
    sha256 = await asyncio.to_thread(_digest, content)
    return Media(content, content_type, size, sha256, thumbnail)


def looks_like_video(head: bytes) -> bool:
    """Whether the first 12 bytes or more could begin a video; a quick look, for who has to limit what comes next."""
    return head[:4] == _EBML or head[4:8] == b"ftyp"


def _digest(content: BinaryIO) -> bytes:
    content.seek(0)
    digest = hashlib.file_digest(content, "sha256").digest()  # type: ignore[arg-type]  # every upload has readinto
    content.seek(0)
    return digest


def _video_type(content: BinaryIO, size: int) -> str | None:
    content.seek(0)
    head = content.read(1024)
    if head[:4] == _EBML:
        return "video/webm" if _is_webm(head, size) else None
    if head[4:8] != b"ftyp" or not head[8:12].startswith(_VIDEO_BRANDS) or not _has_boxes_of_a_film(content, size):
        return None
    return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"


def _has_boxes_of_a_film(content: BinaryIO, size: int) -> bool:
    """ISO 14496-12: boxes of a length and a kind, one after the other up to the end; index and film are among them."""
    kinds: set[bytes] = set()
    at = 0
    for _ in range(_BOX_LIMIT):
        content.seek(at)
        head = content.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        elif length == 0:  # to the end
            length = size - at
        at += length
        if length < 8 or at > size:
            return False
        kinds.add(kind)
        if at == size:
            return {b"moov", b"mdat"} <= kinds
    return False


def _is_webm(head: bytes, size: int) -> bool:
    """Matroska's frame: a header that says WebM, then one segment, which does not end behind the end of the file."""
    length, at = _number(head, 4)
    header, at = head[at : at + length], at + length
    if _WEBM not in header or head[at : at + 4] != _SEGMENT:
        return False
    length, start = _number(head, at + 4)
    unknown = length == (1 << 7 * (start - at - 4)) - 1
    return unknown or start + length <= size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next thing begins: leading zeros tell how many bytes follow."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    return int.from_bytes(data[at : at + width]) & ((1 << 7 * width) - 1), at + width
