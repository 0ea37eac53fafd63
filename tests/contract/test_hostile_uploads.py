"""Uploads that no client of ours would send: refused by their content with a stable code, nothing kept."""

import asyncio
import io
import struct
import zlib
from collections.abc import Sequence

import httpx
import pytest
from PIL import Image

from tests.contract.refusals import refused
from tests.contract.stage import Stage
from tests.support.world import Person, World, picture

PATH = "/api/v1/files"
ALIAS = "/api/v1/service-request/complete"
PURPOSE = b'Content-Disposition: form-data; name="purpose"\r\n\r\nproof'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'


@pytest.fixture(scope="module")
async def jill(world: World) -> Person:
    return await world.provider()


def form(*parts: bytes, boundary: bytes = b"x", end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end


async def post(person: Person, content: bytes, kind: bytes = b"multipart/form-data; boundary=x") -> httpx.Response:
    headers = {b"Content-Type": kind, b"Authorization": person.headers["Authorization"].encode()}
    return await person.http.post(PATH, content=content, headers=headers)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that claims to be so large, with these chunks in the place of its pixels."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [head, *chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + made


FORMS: dict[str, tuple[bytes, bytes]] = {
    "no boundary": (form(PURPOSE, FILE + picture()), b"multipart/form-data"),
    "empty boundary": (form(PURPOSE, FILE + picture()), b"multipart/form-data; boundary="),
    "boundary of another form": (form(PURPOSE, FILE + picture()), b"multipart/form-data; boundary=y"),
    "odd boundary": (form(PURPOSE, FILE + picture()), b"multipart/form-data; boundary=\xff\xfe"),
    "endless boundary": (form(PURPOSE), b"multipart/form-data; boundary=" + b"x" * 30_000),
    "mixed": (form(PURPOSE, FILE + picture()), b"multipart/mixed; boundary=x"),
    "odd charset": (form(FILE + picture()), b"multipart/form-data; boundary=x; charset=punycode"),
    "no charset at all": (form(FILE + picture()), b"multipart/form-data; boundary=x; charset=\xff"),
    "url-encoded": (b"purpose=proof&file=x", b"application/x-www-form-urlencoded"),
    "url-encoded, many fields": (b"a=1&" * 20_000, b"application/x-www-form-urlencoded"),
    "JSON": (b'{"purpose": "proof", "file": "x"}', b"application/json"),
    "nothing": (b"", b"multipart/form-data; boundary=x"),
    "no parts": (b"--x--\r\n", b"multipart/form-data; boundary=x"),
}
BROKEN: dict[str, bytes] = {
    "cut off in the picture": form(PURPOSE, FILE + picture(), end=b"")[:-200],
    "cut off in the headers": form(PURPOSE) + b"--x\r\nContent-Dispo",
    "cut off after the boundary": form(PURPOSE) + b"--x",
    "no purpose": form(FILE + picture()),
    "no file": form(PURPOSE),
    "file without a name": form(PURPOSE, b'Content-Disposition: form-data; name="file"\r\n\r\n' + picture()),
    "file as a word": form(PURPOSE, b'Content-Disposition: form-data; name="file"\r\n\r\nx'),
    "purpose as a file": form(
        b'Content-Disposition: form-data; name="purpose"; filename="p"\r\n\r\nproof', FILE + picture()
    ),
    "unknown purpose": form(b'Content-Disposition: form-data; name="purpose"\r\n\r\n\xff\x00', FILE + picture()),
    "long purpose": form(
        b'Content-Disposition: form-data; name="purpose"\r\n\r\n' + b"x" * 2_000_000, FILE + picture()
    ),
    "part without headers": form(PURPOSE, b"\r\n" + picture()),
    "part without a disposition": form(PURPOSE, b"Content-Type: image/jpeg\r\n\r\n" + picture()),
    "disposition without a name": form(PURPOSE, b"Content-Disposition: form-data\r\n\r\n" + picture()),
    "header without an end": form(PURPOSE, b"Content-Disposition: form-data; name=" + b"x" * 100_000),
    "ten thousand files": form(PURPOSE, *[FILE + b"x"] * 10_000),
    "ten thousand fields": form(PURPOSE, *[PURPOSE] * 10_000),
    "ten thousand headers": form(PURPOSE, b"X: y\r\n" * 10_000 + FILE + picture()),
}
NAMES = [
    b"",
    b"../../../etc/passwd",
    b"a\x00.jpg",
    b"\xff\xfe\xfd",
    b"\xed\xa0\x80.jpg",
    b"x" * 4_000,
    b"CON",
    b".",
    b"/",
]
NOT_PICTURES: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\xff",
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "PHP": b"<?php system($_GET['c']); ?>",
    "shell": b"#!/bin/sh\nrm -rf /\n",
    "executable": b"MZ" + b"\x00" * 500,
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "ZIP": b"PK\x03\x04" + b"\x00" * 500,
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "JPEG's first bytes, then a script": b"\xff\xd8\xff\xe0<?php system($_GET['c']); ?>",
    "a third of a JPEG": picture(600, 400)[:700],
    "a third of a PNG": picture(600, 400, "PNG")[:300],
    "a third of a WebP": picture(600, 400, "WEBP")[:60],
    "GIF": picture(kind="GIF"),
    "BMP": picture(kind="BMP"),
    "TIFF": picture(kind="TIFF"),
    "ICO": picture(kind="ICO"),
    "PNG without pixels": png(10, 10),
    "PNG of no size": png(0, 0, (b"IDAT", zlib.compress(b""))),
    "PNG with pixels that are no stream": png(10, 10, (b"IDAT", b"\xff" * 100)),
    "WebP's first bytes": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff",
    "MP4's first bytes, then a script": b"\x00\x00\x00\x18ftypisom<script>alert(1)</script>",
    "WebM's first bytes, then a script": b"\x1a\x45\xdf\xa3<script>alert(1)</script>",
}
BOMBS: dict[str, bytes] = {
    "PNG of 25 gigapixels": png(160_000, 160_000, (b"IDAT", zlib.compress(b"\x00" * 1000))),
    "PNG of 100 megapixels": png(10_000, 10_000, (b"IDAT", zlib.compress(b"\x00" * 1000))),
    "PNG of 26 megapixels": png(5_200, 5_000, (b"IDAT", zlib.compress(b"\x00" * 1000))),
    "PNG of one line": png(2_147_483_647, 1, (b"IDAT", zlib.compress(b"\x00" * 1000))),
}


async def all_of(person: Person, contents: Sequence[bytes]) -> list[httpx.Response]:
    """One after the other, and all at once."""
    alone = [await post(person, content) for content in contents]
    return alone + await asyncio.gather(*(post(person, content) for content in contents))


@pytest.mark.parametrize("name", FORMS)
async def test_forms_that_are_none(name: str, jill: Person, world: World) -> None:
    content, kind = FORMS[name]
    async with world.unchanged():
        # when
        answer = await post(jill, content, kind)
        # then
        assert refused(answer, 422) == "validation_failed"


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_forms(name: str, jill: Person, world: World) -> None:
    async with world.unchanged():
        # when
        answers = await all_of(jill, [BROKEN[name]])
        # then
        for answer in answers:
            assert refused(answer, 415, 422) in {"validation_failed", "unsupported_media_type"}


async def test_names_of_files_do_not_matter(world: World) -> None:
    # given
    person = await world.person()
    for name in NAMES:
        head = b'Content-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
        # when
        answer = await post(person, form(PURPOSE, head + picture()))
        # then
        assert answer.status_code == 201, (name, answer.text)
    # then: nothing is called as its uploader said
    keys = await world.platform.storage.keys()
    rows = await world.rows("files")
    assert {key.removesuffix(".thumbnail") for key in keys} <= {str(row["id"]) for row in rows}


@pytest.mark.parametrize("name", NOT_PICTURES)
async def test_contents_that_are_no_picture(name: str, jill: Person, scene: Stage, world: World) -> None:
    # given
    content = NOT_PICTURES[name]
    async with world.unchanged():
        # when
        answers = await all_of(jill, [form(PURPOSE, FILE + content)])
        handed_in = await jill.post(
            ALIAS,
            data={"requestId": scene.ids["request_id"][0]},
            files={"completionProof": ("proof.jpg", content, "image/jpeg")},
        )
        # then
        for answer in [*answers, handed_in]:
            assert refused(answer, 415) == "unsupported_media_type"


@pytest.mark.parametrize("name", BOMBS)
async def test_pictures_with_too_many_pixels(name: str, jill: Person, world: World) -> None:
    async with world.unchanged():
        # when
        answers = await all_of(jill, [form(PURPOSE, FILE + BOMBS[name])])
        # then
        for answer in answers:
            assert refused(answer, 413) == "payload_too_large"


async def test_pictures_with_too_many_bytes(jill: Person, scene: Stage, world: World) -> None:
    # given
    large = picture() + b"\x00" * (11 * 1024 * 1024)
    async with world.unchanged():
        # when
        answer = await post(jill, form(PURPOSE, FILE + large))
        handed_in = await jill.post(
            ALIAS, data={"requestId": scene.ids["request_id"][0]}, files={"completionProof": ("proof.jpg", large)}
        )
        # then
        assert refused(answer, 413) == refused(handed_in, 413) == "payload_too_large"
        assert answer.json()["limit_bytes"] == world.platform.settings.image_limit_bytes


async def test_damaged_pictures_are_taken_or_refused(world: World) -> None:
    # given: pictures with one byte changed, at each of many places
    damaged = []
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = picture(40, 30, kind)
        places = range(0, len(whole), max(1, len(whole) // 20))
        damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in places]
    person = await world.person()
    # when
    answers = [await post(person, form(PURPOSE, FILE + content)) for content in damaged]
    # then
    for answer in answers:
        assert answer.status_code == 201 or refused(answer, 409, 413, 415)


@pytest.mark.parametrize("kind", [5, 7, 11, 12], ids=["fraction", "bytes", "float", "double"])
async def test_odd_notes_of_a_camera_do_not_spoil_a_picture(kind: int, world: World) -> None:
    # given: EXIF that says "turn by 90 degrees", and then things of a kind that they cannot be of
    person = await world.person()
    tags = [
        (0x0112, 3, 1, b"\x00\x06\x00\x00"),
        *((tag, kind, 1, b"\x00\x00\x00\x08") for tag in (0x010E, 0x011A, 0x9000)),
    ]
    entries = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in tags)
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + struct.pack(">H", len(tags)) + entries + b"\x00" * 4
    taken = io.BytesIO()
    Image.new("RGB", (64, 48)).save(taken, "JPEG", exif=exif)
    # when
    answers = await asyncio.gather(
        *(post(person, form(PURPOSE.replace(b"proof", kept), FILE + taken.getvalue())) for kept in (b"photo", b"proof"))
    )
    # then
    assert [answer.status_code for answer in answers] == [201, 201]


@pytest.mark.parametrize("purpose", ["photo", "document"])
async def test_only_proof_may_be_a_video(purpose: str, jill: Person, world: World) -> None:
    # given
    box = b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"
    film = box + b"\x00\x00\x00\x08moov" + b"\x00\x00\x00\x08mdat"
    async with world.unchanged():
        # when
        answer = await jill.post(PATH, data={"purpose": purpose}, files={"file": ("film.jpg", io.BytesIO(film))})
        # then
        assert refused(answer, 415) == "unsupported_media_type"


async def test_strangers_upload_nothing(http: httpx.AsyncClient, world: World) -> None:
    # given
    content = form(PURPOSE, FILE + picture())
    async with world.unchanged():
        # when
        answer = await http.post(PATH, content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
        # then
        assert refused(answer, 401) == "unauthenticated"
