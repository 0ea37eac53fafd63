"""Private files: images that are uploaded, and the links that open them."""

import os
from collections.abc import Sequence
from io import BytesIO
from typing import Final, NamedTuple
from uuid import UUID

from PIL import Image

from bench.paths.asking import COUNT, NOBODY, Question, person
from bench.paths.town import Town, in_turn
from bench.stage import ask

_SIZE: Final = (1_024, 768)
_BOUNDARY: Final = "a-boundary-that-no-image-has"


class _Link(NamedTuple):
    """An image of somebody's, and the signed path of its content."""

    id: UUID
    user_id: UUID
    path: str


async def questions(town: Town) -> Sequence[Question]:
    customers = in_turn(town.world.customers, COUNT)
    user = person(town.world, "user_id")
    upload = user.upload("files", _BOUNDARY, _form("evidence", _photograph()))
    file_id = ask(town.port, upload(customers[0]))["id"]
    owner = customers[0].user_id
    link = ask(town.port, user.get(f"files/{file_id}")(customers[0]))
    images = [_Link(file_id, owner, link["url"].partition("/api/v1/")[2])] * COUNT
    return [
        Question("upload an image", upload, customers[: COUNT // 4]),
        Question("link of a file", user.get("files/{id}"), images),
        Question("content of a file", NOBODY.get("{path}"), images),
    ]


def _photograph() -> bytes:
    """As large as what a telephone sends once it has made it smaller: some hundred kilobytes."""
    noise = Image.frombytes("RGB", (64, 48), os.urandom(64 * 48 * 3)).resize(_SIZE, Image.Resampling.BICUBIC)
    content = BytesIO()
    noise.save(content, "JPEG", quality=85)
    return content.getvalue()


def _form(purpose: str, content: bytes) -> bytes:
    parts = (
        (b'name="purpose"', purpose.encode()),
        (b'name="file"; filename="photograph.jpg"\r\nContent-Type: image/jpeg', content),
    )
    marked = b"--" + _BOUNDARY.encode()
    lines = [
        marked + b"\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n" for head, body in parts
    ]
    return b"".join(lines) + marked + b"--\r\n"
