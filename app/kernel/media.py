"""What an upload is, told by its content and never by its name: images are decoded, videos are walked through."""

import hashlib
import io
import warnings
from typing import BinaryIO, Final, NamedTuple

from PIL import ExifTags, Image

from app.core.config import Settings
from app.core.errors import PayloadTooLarge, Problem, UnsupportedMedia

# MPO is the JPEG of many phones, with a second picture behind the first.
_IMAGES: Final = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_READERS: Final = ("JPEG", "PNG", "WEBP")

_VIDEO_BRANDS: Final = (b"iso", b"mp4", b"avc", b"M4V", b"MSNV", b"dash", b"3gp", b"3g2", b"cmf", b"XAVC", b"qt  ")
_TURNS: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BOX_LIMIT: Final = 10_000
_EBML, _SEGMENT, _WEBM = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x42\x82\x84webm"

# Once and for the whole process, because changing the filters for a while would not be safe in threads.
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Media(NamedTuple):
    """An upload that was found to be what it may be; `content` is what is to be kept."""

    content: BinaryIO
    content_type: str
    size_bytes: int
    sha256: bytes


def inspect(settings: Settings, content: BinaryIO, size: int, *, may_be_video: bool, rewritten: bool) -> Media:
    """Check an upload; call it in a thread, because decoding and hashing take their time.

    `rewritten` pictures are encoded anew: cameras write the place where they stood into the file, and what is hidden
    behind or between the pixels goes too. Raises `UnsupportedMedia` for what is no JPEG, PNG or WebP, nor a video where
    one may be, and `PayloadTooLarge` above the kind's limit in bytes or pixels.
    """
    content_type = _video_type(content, size) if may_be_video else None
    if content_type is not None:
        if size > settings.video_limit_bytes:
            raise PayloadTooLarge(limit_bytes=settings.video_limit_bytes)
    else:
        if size > settings.image_limit_bytes:
            raise PayloadTooLarge(limit_bytes=settings.image_limit_bytes)
        content_type, content, size = _image(content, size, settings.image_limit_pixels, rewritten=rewritten)
    content.seek(0)
    sha256 = hashlib.file_digest(content, "sha256").digest()  # type: ignore[arg-type]  # every upload has readinto
    content.seek(0)
    return Media(content, content_type, size, sha256)


def _image(content: BinaryIO, size: int, limit_pixels: int, *, rewritten: bool) -> tuple[str, BinaryIO, int]:
    content.seek(0)
    try:
        with Image.open(content, formats=_READERS) as image:
            width, height = image.size
            if width * height > limit_pixels:
                raise PayloadTooLarge("The image has too many pixels.", limit_pixels=limit_pixels)
            content_type = _IMAGES[str(image.format)]
            image.verify()
        content.seek(0)
        with Image.open(content, formats=_READERS) as image:
            image.load()  # `verify` reads checksums only: a truncated image shows when it is decoded
            if not rewritten:
                return content_type, content, size
            fresh = _encoded_anew(image, content_type)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise PayloadTooLarge("The image has too many pixels.", limit_pixels=limit_pixels) from bomb
    except Problem:
        raise
    except Exception as error:  # decoders that are fed by strangers stumble in ways that nobody has listed
        raise UnsupportedMedia("This is not an image of a kind that is accepted here.") from error
    return content_type, fresh, fresh.getbuffer().nbytes


def _orientation(image: Image.Image) -> object:
    """How the camera was held; notes of a camera that cannot be read do not spoil the picture."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return None


def _encoded_anew(image: Image.Image, content_type: str) -> io.BytesIO:
    """The same picture, turned as its camera said, with its colour profile and without anything else."""
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    image.info = {name: image.info[name] for name in ("icc_profile", "transparency") if name in image.info}
    fresh = io.BytesIO()
    kind = content_type.removeprefix("image/").upper()
    image.save(
        fresh, kind, exif=b"", icc_profile=image.info.get("icc_profile"), **({} if kind == "PNG" else {"quality": 90})
    )
    return fresh


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
