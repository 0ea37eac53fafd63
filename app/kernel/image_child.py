"""Decodes pictures that strangers have sent, as a process of its own that can do nothing else (`images.py` starts it).

It knows nothing of the product: no environment, no secrets, no database, no file that it could open, little memory and
little time. Whoever breaks into a decoder finds themselves here. Orders come through the socket that is its standard
input: four bytes of length, JSON, and the picture; answers go back the same way.
"""

import ctypes
import io
import json
import os
import resource
import signal
import socket
import sys
import warnings
from typing import Any, Final

from PIL import (
    ExifTags,
    Image,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# What Pillow would load when it first needs it, and could not any more once nothing can be opened.
LOADED: Final = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)

# MPO is the JPEG of many phones, with a second picture behind the first.
_IMAGES: Final = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_TURNS: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_REDUCIBLE: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_PARTS: Final = 10_000
_WHOLE_SCANS: Final = 12
_LENGTH_BYTES: Final = 4
_STANDARD_FILES: Final = 3
_PR_SET_PDEATHSIG: Final = 1


class Refused(Exception):
    """`pixels`: more than may be; `small`: fewer than must be; `unsupported`: no picture of these kinds."""


def pictured(order: dict[str, Any], content: bytes) -> tuple[str, bytes, bytes]:
    """The media type, the picture encoded anew (nothing, where that is not asked for), and its small copy.

    A picture that is encoded anew is turned as its camera said, in the colours that every screen takes for granted, and
    has nothing else in it: no notes of the camera, no place, no profile, nothing behind or between the pixels.
    """
    if not _has_few_parts(content):
        raise Refused("unsupported")
    try:
        with Image.open(io.BytesIO(content), formats=order["kinds"]) as image:
            _measure(image.size, order)
            content_type = _IMAGES[str(image.format)]
            if content_type == "image/jpeg" and _scans(content, image) > _WHOLE_SCANS * order["limit_pixels"]:
                raise Refused("unsupported")
            image.verify()
        with Image.open(io.BytesIO(content), formats=order["kinds"]) as image:
            image.load()  # `verify` reads checksums only: a truncated picture shows when it is decoded
            turn = _TURNS.get(_orientation(image))
            if not order["rewritten"]:
                return content_type, b"", _small_copy(image, turn, order["thumbnail_side"])
            plain = _plain(image, turn)
            return content_type, _encoded(plain, content_type), _small_copy(plain, None, order["thumbnail_side"])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise Refused("pixels") from bomb
    except Refused:
        raise
    except Exception as error:  # decoders that are fed by strangers stumble in ways that nobody has listed
        raise Refused("unsupported") from error


def _measure(size: tuple[int, int], order: dict[str, Any]) -> None:
    if size[0] * size[1] > order["limit_pixels"]:
        raise Refused("pixels")
    # Either way up: cameras write a picture lying, and beside it how they were held.
    if max(size) < order["least_long"] or min(size) < order["least_short"]:
        raise Refused("small")


def _has_few_parts(content: bytes) -> bool:
    """Whether there are no more chunks, or segments before the pixels, than any program writes: Pillow joins some of
    them one by one, so that the time for them grows with the square of their number."""
    is_png = content.startswith(b"\x89PNG")
    at = 8 if is_png else 2
    for _ in range(_PARTS):
        if is_png:
            at += 12 + int.from_bytes(content[at : at + 4])
        elif content[at : at + 1] != b"\xff" or content[at + 1 : at + 2] == b"\xda":
            return True
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4])
        if at >= len(content):
            return True
    return False


def _scans(content: bytes, image: Image.Image) -> int:
    """How many pixels there are to go over: a progressive JPEG may come back to each of them any number of times."""
    return content.count(b"\xff\xda") * image.width * image.height


def _orientation(image: Image.Image) -> object:
    """How the camera was held; notes of a camera that cannot be read do not spoil the picture."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return None


def _plain(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """The pixels, the right way up, and what of them is transparent; nothing else."""
    plain = _in_common_colours(image)
    if turn is not None:
        plain = plain.transpose(turn)
    plain.info = {name: image.info[name] for name in ("transparency",) if name in image.info}
    return plain


def _in_common_colours(image: Image.Image) -> Image.Image:
    """In sRGB, so that the profile can go, which has room for a text of any length."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return image
        target = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, own, _SRGB, outputMode=target) or image
    except Exception:
        return image  # a profile that cannot be read does not spoil the picture either


def _encoded(image: Image.Image, content_type: str) -> bytes:
    fresh = io.BytesIO()
    # A PNG is as good at any level, and takes three times as long at the default one.
    options = {"compress_level": 3} if content_type == "image/png" else {"quality": 90}
    image.save(fresh, content_type.removeprefix("image/").upper(), exif=b"", **options)
    return fresh.getvalue()


def _small_copy(image: Image.Image, turn: Image.Transpose | None, side: int) -> bytes:
    """A JPEG of at most so many pixels each way, on white where the picture is transparent."""
    longest = max(image.size)
    width, height = (max(1, round(edge * min(1.0, side / longest))) for edge in image.size)
    info = image.info
    if longest >= 2 * side:
        between = longest // side
        if image.mode in _REDUCIBLE:
            image = image.reduce(max(1, between // 2))
        else:
            image = image.resize((min(2 * width, image.width), min(2 * height, image.height)))
    image.info = info
    image = _in_common_colours(image)
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB" if image.mode in ("P", "PA", "CMYK", "RGBA", "YCbCr", "RGB") else "L")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    if turn is not None:
        image = image.transpose(turn)
    image.info = {}
    copy = io.BytesIO()
    image.save(copy, "JPEG", quality=80)
    return copy.getvalue()


def _give_up_everything(memory_bytes: int, cpu_seconds: float, images: int, parent: int) -> None:
    if sys.platform == "linux":
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Behind the clock of each picture, which whoever has broken in could stop.
    whole = int(cpu_seconds * images) + 10
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_STANDARD_FILES, _STANDARD_FILES))


def _received(parent: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        count = parent.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(content)


def _work(parent: socket.socket, cpu_seconds: float) -> None:
    order = json.loads(_received(parent, int.from_bytes(_received(parent, _LENGTH_BYTES))))
    content = _received(parent, order["size_bytes"])
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # its signal ends the process
    try:
        content_type, fresh, thumbnail = pictured(order, content)
        answer = {"content_type": content_type, "sizes": [len(fresh), len(thumbnail)]}
    except Refused as refusal:
        fresh = thumbnail = b""
        answer = {"refused": str(refusal), "sizes": [0, 0]}
    signal.setitimer(signal.ITIMER_PROF, 0)
    head = json.dumps(answer).encode()
    parent.sendall(len(head).to_bytes(_LENGTH_BYTES) + head + fresh + thumbnail)


def main() -> None:
    """Work until nothing has come for a while, so many pictures have gone, or the parent has."""
    parent_pid, memory_bytes, images = map(int, sys.argv[1:4])
    cpu_seconds, idle_seconds = map(float, sys.argv[4:6])
    Image.preinit()
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    _give_up_everything(memory_bytes, cpu_seconds, images, parent_pid)
    with socket.socket(fileno=0) as parent:
        parent.settimeout(idle_seconds)
        try:
            for _ in range(images):
                _work(parent, cpu_seconds)
        except (TimeoutError, EOFError, ConnectionError):
            pass


if __name__ == "__main__":
    main()
