"""Files that somebody means harm with, or that a broken camera made: as many as are wanted, from a seed.

Each says what may become of it: `refused`, with the codes of its kind, or taken, and then none of the marks in it may
be left in what is kept.
"""

import io
import itertools
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, NamedTuple

from PIL import Image
from PIL.PngImagePlugin import PngInfo

MARK: Final = b"PLANTED-MARK"
LIMIT_BYTES: Final = 10 * 1024 * 1024
ANY: Final = frozenset({"unsupported_media_type", "payload_too_large", "image_too_small", "validation_failed"})
UNSUPPORTED: Final = frozenset({"unsupported_media_type"})
TOO_LARGE: Final = frozenset({"payload_too_large"})
TOO_SMALL: Final = frozenset({"image_too_small"})
NAMES: Final = (
    "a.jpg", "../../../etc/passwd", "a\x00.png", "..\\..\\boot.ini", "a.jpg.php", "/dev/zero", "CON", "\u202egpj.exe",
    "x" * 2000, "%2e%2e%2fa", "<script>.png", "a;rm -rf.png",
)  # fmt: skip
TYPES: Final = (
    "image/jpeg", "image/png", "text/html", "image/svg+xml", "application/x-php", "video/mp4", "multipart/mixed",
)  # fmt: skip


class Hostile(NamedTuple):
    kind: str
    content: bytes
    refusals: frozenset[str]
    """With which codes it may be refused; none: it must be taken."""
    may_be_taken: bool
    name: str
    content_type: str


@cache
def base(kind: str = "JPEG", width: int = 820, height: int = 620) -> bytes:
    """A picture with something in it, so that its pixels can be compared."""
    image = Image.linear_gradient("L").resize((width, height))
    coloured = Image.merge("RGB", (image, image.rotate(180), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    content = io.BytesIO()
    coloured.save(content, kind)
    return content.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def with_chunks(*chunks: bytes) -> bytes:
    """A sound PNG with these chunks behind its head."""
    whole = base("PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """A sound JPEG with these segments behind its first two bytes."""
    whole = base()
    return (
        whole[:2] + b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(d) + 2) + d for m, d in segments) + whole[2:]
    )


@cache
def exif() -> bytes:
    notes = Image.Exif()
    notes[0x010E], notes[0x010F], notes[0x8298] = (MARK.decode() + at for at in (" said", " made", " owned"))
    place = notes.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (18.0, 30.0, 26.6), "E", (73.0, 48.0, 27.7)
    place[29] = MARK.decode()
    return notes.tobytes()


@cache
def profile() -> bytes:
    """A colour profile that Pillow can read, with a text behind its end and its description replaced."""
    from_pillow = io.BytesIO()
    Image.new("RGB", (1, 1)).save(from_pillow, "PNG")
    return b"\x00\x00\x02\x00lcms" + MARK * 20


def truncated(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    whole = base(chance.choice(("JPEG", "PNG")))
    return whole[: chance.randrange(len(whole) - 16)], ANY, False


def flipped(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    damaged = bytearray(base(chance.choice(("JPEG", "PNG"))))
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged), ANY, True


def garbage(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    head = chance.choice((b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8 "))
    return head + chance.randbytes(chance.choice((0, 1, 100, 5000, 100_000))), UNSUPPORTED, False


def wrong_kind(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    kind = chance.choice(("GIF", "WEBP", "TIFF", "BMP", "ICO", "PPM", "TGA", "ICNS", "PDF", "JPEG2000"))
    content = io.BytesIO()
    size = (256, 256) if kind in ("ICO", "ICNS") else (820, 620)
    Image.new("RGB", size, (chance.randrange(256), 9, 9)).save(content, kind)
    return content.getvalue(), UNSUPPORTED, False


def words(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    return chance.choice((
        b"", b"\xff", b"\n", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
        b"<!doctype html><script>alert(1)</script>", b"<?php system($_GET[0]); ?>", b"#!/bin/sh\nrm -rf /\n",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", b"PK\x03\x04" + bytes(60), b"MZ" + bytes(500), b"%!PS-Adobe-3.0\n",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200), b"\x00\x00\x00\x18ftypavif" + bytes(200),
        b"push graphic-context\nviewbox 0 0 640 480\nfill 'url(https://example.com/|ls)'\npop graphic-context",
        b"\x1a\x45\xdf\xa3" + bytes(200), b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(99), b"II*\x00" + b"\xff" * 300,
        b"8BPS\x00\x01" + bytes(100), b"GIF89a" + b"\xff" * 50, b"\x1f\x8b\x08" + bytes(40), b"\x7fELF" + bytes(90),
    )), UNSUPPORTED, False  # fmt: skip


def small(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    size = chance.choice(((799, 600), (800, 599), (600, 799), (599, 800), (1, 1), (5000, 10), (640, 480)))
    return base(chance.choice(("JPEG", "PNG")), *size), TOO_SMALL, False


def just_large_enough(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    return base(chance.choice(("JPEG", "PNG")), *chance.choice(((800, 600), (600, 800)))), frozenset(), True


def heavy(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    whole = base(chance.choice(("JPEG", "PNG")))
    return whole + bytes(LIMIT_BYTES + 1 - len(whole)), TOO_LARGE, False


def as_heavy_as_may_be(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    whole = base(chance.choice(("JPEG", "PNG")))
    return whole + MARK + bytes(LIMIT_BYTES - len(whole) - len(MARK)), frozenset(), True


def pixels_of_a_header(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """So many pixels are announced; what comes is next to nothing."""
    width, height = chance.choice(
        ((160_000, 160_000), (5_001, 5_000), (2**31 - 1, 800), (50_000, 600), (65_535, 65_535))
    )
    if chance.random() < 0.5:
        return png_of(width, height, chunk(b"IDAT", zlib.compress(bytes(1000)))), ANY, False
    jpeg = bytearray(base())
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", min(height, 65_500), min(width, 65_500))
    return bytes(jpeg), ANY, False


@cache
def _packed(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def zipped(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """Much more comes out of it than went in: pixels beyond the picture, texts, profiles."""
    match chance.randrange(4):
        case 0:
            return png_of(820, 620, chunk(b"IDAT", _packed(chance.choice((10, 100))))), ANY, True
        case 1:
            return with_chunks(chunk(b"zTXt", b"bomb\x00\x00" + _packed(chance.choice((2, 100))))), ANY, True
        case 2:
            return with_chunks(chunk(b"iCCP", b"bomb\x00\x00" + _packed(chance.choice((2, 100))))), ANY, True
        case _:
            texts = [chunk(b"iTXt", b"bomb\x00\x01\x00\x00\x00" + _packed(1)) for _ in range(80)]
            return with_chunks(*texts), ANY, True


def many_parts(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    count = chance.choice((1000, 20_000, 200_000))
    match chance.randrange(5):
        case 0:
            return with_chunks(*[chunk(b"tEXt", b"a\x00" + MARK)] * count), ANY, True
        case 1:
            return with_segments(*[(0xFE, MARK)] * count), ANY, True
        case 2:
            return with_segments(*[(0xE1, b"Exif\x00\x00" + MARK)] * count), ANY, True
        case 3:
            return png_of(820, 620, *[chunk(b"IDAT", b"")] * count), ANY, False
        case _:
            return (
                with_segments(*[(0xE2, b"ICC_PROFILE\x00" + bytes([i % 255 + 1, 255]) + MARK) for i in range(count)]),
                ANY,
                True,
            )


def moving(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """Several pictures in one file; the first one is what counts."""
    frames = [Image.new("RGB", (820, 620), (shade, 0, 0)) for shade in range(chance.choice((2, 10)))]
    content = io.BytesIO()
    kind = chance.choice(("PNG", "MPO"))
    frames[0].save(content, kind, save_all=True, append_images=frames[1:])
    return content.getvalue(), ANY, True


def slow(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """A progressive JPEG whose last scan comes again and again, each time over all of its pixels."""
    content = io.BytesIO()
    Image.new("RGB", (5000, 4990), "navy").save(content, "JPEG", progressive=True, quality=5)
    whole = content.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * chance.choice((5, 60)) + whole[-2:], ANY, True


def two_in_one(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """A sound picture that is something else as well."""
    whole = base(chance.choice(("JPEG", "PNG")))
    tail = chance.choice((
        b"<html><script>alert('%s')</script></html>" % MARK, b"PK\x03\x04" + MARK + b"PK\x05\x06" + bytes(18),
        b"<?php /* %s */ ?>" % MARK, b"%%PDF-1.7\n%s" % MARK, b"\xca\xfe\xba\xbe" + MARK, b"GIF89a" + MARK,
        b"Rar!\x1a\x07\x00" + MARK, b"<svg onload='%s'/>" % MARK,
    ))  # fmt: skip
    if chance.random() < 0.3:
        return tail + whole, UNSUPPORTED, False
    return whole + tail, frozenset(), True


def telling(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """A sound picture with notes in every place that has room for some."""
    jpeg = (
        (0xE1, exif()), (0xE1, b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta>" + MARK + b"</x:xmpmeta>"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + struct.pack(">I", len(MARK) + 5) + b"\x1c\x02\x78"
         + struct.pack(">H", len(MARK)) + MARK + b"\x00"),
        (0xFE, MARK), (0xE0, b"JFXX\x00\x10" + MARK), (0xE2, b"ICC_PROFILE\x00\x01\x01" + profile()),
        (0xE2, b"FPXR\x00" + MARK), (0xE4, MARK), (0xEB, b"JP\x00\x01" + MARK), (0xEC, b"Ducky" + MARK), (0xEF, MARK),
    )  # fmt: skip
    png = (
        chunk(b"tEXt", b"Comment\x00" + MARK), chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(MARK)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + MARK), chunk(b"eXIf", exif()[6:]),
        chunk(b"iCCP", MARK + b"\x00\x00" + zlib.compress(profile())), chunk(b"prVt", MARK), chunk(b"tIME", bytes(7)),
        chunk(b"sPLT", MARK + b"\x00\x08"),
    )  # fmt: skip
    if chance.random() < 0.5:
        return with_segments(*chance.sample(jpeg, chance.randint(1, len(jpeg)))), frozenset(), True
    return with_chunks(*chance.sample(png, chance.randint(1, len(png)))), frozenset(), True


def saved_with_notes(chance: random.Random) -> tuple[bytes, frozenset[str], bool]:
    """As programs for pictures write them."""
    content, image = io.BytesIO(), Image.open(io.BytesIO(base()))
    if chance.random() < 0.5:
        image.save(content, "JPEG", exif=exif(), comment=MARK, xmp=MARK)
        return content.getvalue(), frozenset(), True
    text = PngInfo()
    text.add_itxt("Comment", MARK.decode(), zip=chance.random() < 0.5)
    image.convert(chance.choice(("RGB", "RGBA", "L", "P", "LA", "1"))).save(content, "PNG", pnginfo=text, exif=exif())
    return content.getvalue(), frozenset(), True


MAKERS: Final[tuple[Callable[[random.Random], tuple[bytes, frozenset[str], bool]], ...]] = (
    truncated, flipped, garbage, wrong_kind, words, small, just_large_enough, pixels_of_a_header, zipped, many_parts,
    moving, two_in_one, telling, saved_with_notes, flipped, truncated, heavy, as_heavy_as_may_be, slow,
)  # fmt: skip


def hostile(count: int, seed: int) -> Iterator[Hostile]:
    """So many files, of every kind in turn."""
    chance = random.Random(seed)
    for make in itertools.islice(itertools.cycle(MAKERS), count):
        content, refusals, may_be_taken = make(chance)
        yield Hostile(make.__name__, content, refusals, may_be_taken, chance.choice(NAMES), chance.choice(TYPES))
