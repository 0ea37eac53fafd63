"""What an upload is, told by its content: hostile, broken and oversized files, and those that are fine."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from app.core.errors import PayloadTooLarge, UnsupportedMedia
from app.kernel import media
from app.kernel.images import Order
from app.models.files import UploadPurpose
from tests.support.world import World, picture

SCRIPT = b"<html><script>alert(1)</script></html>"


def box(kind: bytes, content: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if length is None else length, kind) + content


def film(brand: bytes = b"isom", *more: bytes) -> bytes:
    """The smallest thing that is put together like an MP4."""
    return b"".join((box(b"ftyp", brand + bytes(4) + brand), box(b"moov", bytes(64)), box(b"mdat", bytes(256)), *more))


def webm(
    kind: bytes = b"webm", *, segment: bytes = b"\x01\xff\xff\xff\xff\xff\xff\xff", body: bytes = bytes(64)
) -> bytes:
    """The smallest thing that is put together like a WebM; the length of its segment is unknown, as browsers write."""
    header = b"\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(kind)]) + kind
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(header)]) + header + b"\x18\x53\x80\x67" + segment + body


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that would unpack to a picture of this size, one bit for each pixel."""
    packer, rows = zlib.compressobj(9), io.BytesIO()
    line = bytes(1 + (width + 7) // 8)
    for _ in range(height):
        rows.write(packer.compress(line))
    rows.write(packer.flush())

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows.getvalue()) + chunk(b"IEND", b"")


def saved(kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(content, kind, **options)
    return content.getvalue()


async def inspect(world: World, content: bytes, *, video: bool = True, rewritten: bool = False) -> media.Media:
    rules = media.Rules(Order(("JPEG", "PNG", "WEBP"), rewritten), may_be_video=video)
    platform = world.platform
    return await media.inspect(
        platform.images, platform.settings, io.BytesIO(content), len(content), rules, whose=uuid4()
    )


FINE = {
    "JPEG": (picture(), "image/jpeg"),
    "PNG": (picture(kind="PNG"), "image/png"),
    "WebP": (picture(kind="WEBP"), "image/webp"),
    "JPEG with a second picture, as phones write it": (
        saved("MPO", save_all=True, append_images=[Image.new("RGB", (32, 24))]), "image/jpeg",
    ),
    "grey with transparency": (saved("PNG", transparency=(0, 0, 0)), "image/png"),
    "MP4": (film(), "video/mp4"),
    "MP4 with the film first": (box(b"ftyp", b"mp42" + bytes(4)) + box(b"mdat", bytes(9)) + box(b"moov"), "video/mp4"),
    "MP4 of a last box to the end": (film() + box(b"free", bytes(9), length=0), "video/mp4"),
    "MP4 of a long box": (film() + struct.pack(">I4sQ", 1, b"free", 16), "video/mp4"),
    "QuickTime": (film(b"qt  "), "video/quicktime"),
    "WebM": (webm(), "video/webm"),
    "WebM of a known length": (webm(segment=b"\x90", body=bytes(16)), "video/webm"),
}  # fmt: skip

HOSTILE = {
    "nothing": b"",
    "one byte": b"\xff",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "HTML": SCRIPT,
    "script": b"#!/bin/sh\nrm -rf /\n",
    "PDF": b"%PDF-1.7\n1 0 obj\n",
    "ZIP": b"PK\x03\x04" + bytes(30),
    "GIF": saved("GIF"),
    "BMP": saved("BMP"),
    "TIFF": saved("TIFF"),
    "ICO": saved("ICO"),
    "HTML with the head of a JPEG": b"\xff\xd8\xff\xe0" + SCRIPT,
    "HTML with the head of a PNG": b"\x89PNG\r\n\x1a\n" + SCRIPT,
    "HTML with the head of a WebP": b"RIFF\x24\x00\x00\x00WEBPVP8 " + SCRIPT,
    "HTML that says film": b"<!--ftypisom-->" + SCRIPT,
    "HTML behind a film's first box": box(b"ftyp", b"isom" + bytes(4)) + SCRIPT,
    "a film's first box alone": box(b"ftyp", b"isom" + bytes(4)),
    "a film without a film": box(b"ftyp", b"isom" + bytes(4)) + box(b"moov"),
    "a film without an index": box(b"ftyp", b"isom" + bytes(4)) + box(b"mdat"),
    "a film and what does not belong to it": film() + SCRIPT,
    "a film of boxes that are too short": film() + box(b"free", length=7),
    "a film of boxes that are too long": film() + box(b"free", length=9),
    "a film of very many boxes": film() + box(b"free") * 20_000,
    "a picture in the frame of a film": film(b"heic"),
    "sound": film(b"M4A "),
    "Matroska that is no WebM": webm(b"matroska"),
    "WebM without a segment": webm()[:12] + SCRIPT,
    "WebM with a head only": webm()[:5],
    "HTML with the head of a WebM": b"\x1a\x45\xdf\xa3" + SCRIPT,
}


@pytest.mark.parametrize("name", FINE)
async def test_what_is_fine_is_named_by_its_content(world: World, name: str) -> None:
    content, kind = FINE[name]
    found = await inspect(world, content)
    assert (found.content_type, found.size_bytes, found.content.read()) == (kind, len(content), content)


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_neither_picture_nor_film_is_refused(world: World, name: str) -> None:
    with pytest.raises(UnsupportedMedia):
        await inspect(world, HOSTILE[name])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "MP4", "WebM of a known length"])
async def test_what_was_cut_off_is_refused(world: World, kind: str) -> None:
    content, _ = FINE[kind]
    for length in (len(content) // 2, len(content) * 3 // 4, len(content) - 10):
        with pytest.raises(UnsupportedMedia):
            await inspect(world, content[:length])


async def test_a_damaged_picture_is_refused(world: World) -> None:
    content = bytearray(picture(kind="PNG"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(UnsupportedMedia):
        await inspect(world, bytes(content))


@pytest.mark.parametrize("name", [name for name, (_, kind) in FINE.items() if kind.startswith("video")])
async def test_a_film_is_no_photo(world: World, name: str) -> None:
    with pytest.raises(UnsupportedMedia):
        await inspect(world, FINE[name][0], video=False)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_000, 10_000), (5_001, 5_000)])
async def test_a_bomb_of_pixels_is_not_unpacked(world: World, width: int, height: int) -> None:
    with pytest.raises(PayloadTooLarge) as refusal:
        await inspect(world, png_bomb(width, height))
    assert refusal.value.extra == {"limit_pixels": 25_000_000}


async def test_a_picture_of_as_many_pixels_as_allowed_is_fine(world: World) -> None:
    assert (await inspect(world, png_bomb(5_000, 5_000))).content_type == "image/png"


async def test_limits_in_bytes_are_those_of_the_kind(world: World) -> None:
    limit = world.platform.settings.image_limit_bytes
    padded = picture() + bytes(limit - len(picture()))
    assert (await inspect(world, padded)).size_bytes == limit
    for content in (padded + b"x", SCRIPT + padded):
        with pytest.raises(PayloadTooLarge) as refusal:
            await inspect(world, content)
        assert refusal.value.extra == {"limit_bytes": limit}


async def test_a_film_may_be_larger_than_a_picture_up_to_its_own_limit(world: World, tmp_path: Path) -> None:
    def sparse(size: int) -> Path:
        """A film of so many bytes, which take no room."""
        head = box(b"ftyp", b"isom" + bytes(4)) + box(b"moov")
        path = tmp_path / str(size)
        with path.open("wb") as file:
            file.write(head + box(b"mdat", length=size - len(head)))
            file.truncate(size)
        return path

    small = world.platform.settings.model_copy(update={"video_limit_bytes": 12 * 1024 * 1024})
    film_or_picture = media.Rules(Order(("JPEG",), rewritten=False), may_be_video=True)
    for size, fits in ((11 * 1024 * 1024, True), (12 * 1024 * 1024, True), (12 * 1024 * 1024 + 1, False)):
        with sparse(size).open("rb") as content:
            if fits:
                found = await media.inspect(world.platform.images, small, content, size, film_or_picture, whose=uuid4())
                assert found.content_type == "video/mp4"
                continue
            with pytest.raises(PayloadTooLarge):
                await media.inspect(world.platform.images, small, content, size, film_or_picture, whose=uuid4())


@pytest.mark.parametrize("name", [name for name, (_, kind) in FINE.items() if kind.startswith("image")])
async def test_a_rewritten_picture_is_the_picture_and_nothing_else(world: World, name: str) -> None:
    content, kind = FINE[name]
    found = await inspect(world, content + SCRIPT, rewritten=True)
    kept = found.content.read()
    assert (found.content_type, found.size_bytes) == (kind, len(kept))
    assert b"script" not in kept
    opened = Image.open(io.BytesIO(kept))
    assert opened.size == (64, 48)
    assert opened.getexif() == {}


@pytest.mark.parametrize("purpose", list(UploadPurpose))
@pytest.mark.parametrize("name", ["photo.jpg", "../../etc/passwd", "a\x00.png", "x" * 3000])
async def test_neither_name_nor_declared_type_makes_a_picture(world: World, purpose: UploadPurpose, name: str) -> None:
    person = await world.person()
    async with world.unchanged():
        answer = await person.post(
            "/api/v1/files", data={"purpose": purpose.value}, files={"file": (name, SCRIPT, "image/jpeg")}
        )
    assert answer.status_code in {415, 422}, answer.text


async def test_a_picture_called_a_script_is_a_picture(world: World) -> None:
    person = await world.person()
    answer = await person.post(
        "/api/v1/files", data={"purpose": "proof"}, files={"file": ("run.sh", picture(), "text/x-shellscript")}
    )
    assert (answer.status_code, answer.json()["content_type"]) == (201, "image/jpeg")
