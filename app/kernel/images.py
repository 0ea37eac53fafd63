"""Pictures are decoded in processes of their own (`image_child.py`), bounded in number, memory and time.

They are started when they are first needed, kept for the next picture, and end by themselves when none comes.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from weakref import WeakValueDictionary

from app.core.config import Settings
from app.core.errors import PayloadTooLarge, Unavailable, Unprocessable, UnsupportedMedia

_SCRIPT: Final = Path(__file__).with_name("image_child.py")
_PIECE_BYTES: Final = 256 * 1024
THUMBNAIL_TYPE: Final = "image/jpeg"
_LENGTH_BYTES: Final = 4
_BURIAL_SECONDS: Final = 1.0


class ImageTooSmall(Unprocessable):
    code, title = "image_too_small", "The image has too few pixels to show anything."


class Order(NamedTuple):
    """What a picture has to be, and what is to become of it. Sizes are pixels, of either way up."""

    kinds: tuple[str, ...]
    rewritten: bool
    least_long: int = 1
    least_short: int = 1


class Picture(NamedTuple):
    """`content` is the picture encoded anew, or nothing where that was not asked for."""

    content_type: str
    content: bytes
    thumbnail: bytes


class Images:
    """The children of one process. They have nothing of it but one end of a socket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: list[_Child] = []
        self._burials: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(settings.image_children)
        self._own: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def read(self, order: Order, content: BinaryIO, size: int, *, whose: Hashable) -> Picture:
        """Decode a picture, of each owner one at a time, so that nobody has all the children to themselves.

        `UnsupportedMedia`, `PayloadTooLarge` or `ImageTooSmall` for what it may not be; `Unavailable` if every child
        stays busy, or one that it was given to is ended from outside.
        """
        head = json.dumps(
            order._asdict()
            | {
                "size_bytes": size,
                "limit_pixels": self._settings.image_limit_pixels,
                "thumbnail_side": self._settings.thumbnail_pixels,
            }
        ).encode()
        async with self._turn(whose):
            while self._idle:
                try:
                    return self._understood(await self._ask(self._idle.pop(), head, content), order)
                except _LeftBefore:
                    continue
            try:
                return self._understood(await self._ask(_Child(self._settings), head, content), order)
            except _LeftBefore as left:
                raise Unavailable("Images cannot be read at the moment.") from left

    @asynccontextmanager
    async def _turn(self, whose: Hashable) -> AsyncIterator[None]:
        """Behind what the owner has sent before, and then behind one picture of each of the others."""
        own = self._own.setdefault(whose, asyncio.Lock())
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(self._settings.image_wait_seconds):
                    await turn.enter_async_context(own)
                    await turn.enter_async_context(self._free)
            except TimeoutError as busy:
                raise Unavailable("Too many images are being read at the moment.") from busy
            yield

    async def _ask(self, child: "_Child", head: bytes, content: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
        asked = asyncio.ensure_future(asyncio.to_thread(child.ask, head, content, self._settings.image_seconds))
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            child.kill()
            burial = asyncio.create_task(self._bury(child, asked))
            self._burials.add(burial)
            burial.add_done_callback(self._burials.discard)
            raise
        self._idle.append(child)
        return answer

    async def _bury(self, child: "_Child", asked: asyncio.Future[Any]) -> None:
        """Wait for the end of one that was given up: its thread may be done with it just now, or not have begun."""
        await asyncio.gather(asked, return_exceptions=True)
        await asyncio.to_thread(child.end)

    def _understood(self, answer: tuple[dict[str, Any], list[bytes]], order: Order) -> Picture:
        told, (content, thumbnail) = answer
        match told.get("refused"):
            case None:
                return Picture(told["content_type"], content, thumbnail)
            case "pixels":
                limit = self._settings.image_limit_pixels
                raise PayloadTooLarge("The image has too many pixels.", limit_pixels=limit)
            case "small":
                raise ImageTooSmall(least_pixels=[order.least_long, order.least_short])
            case _:
                raise UnsupportedMedia("This is not an image of a kind that is accepted here.")

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*self._burials, *(asyncio.to_thread(child.end) for child in idle))


class _LeftBefore(Exception):
    """The child had ended by itself before the picture came: another one takes it."""


class _Child:
    """One process. It is started from the thread of the event loop, with whose end the kernel ends it."""

    def __init__(self, settings: Settings) -> None:
        limits = (
            settings.image_memory_bytes,
            settings.images_per_child,
            settings.image_cpu_seconds,
            settings.image_child_idle_seconds,
        )
        self._longest_answer = settings.image_memory_bytes
        self._socket, there = socket.socketpair()
        with there:
            # Not the product's environment, which holds its secrets; `-I` looks for nothing in the working folder.
            self._process = subprocess.Popen(  # noqa: S603 - the product's own script
                [sys.executable, "-I", str(_SCRIPT), *map(str, (os.getpid(), *limits))],
                env={},
                cwd="/",
                stdin=there.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def ask(self, head: bytes, content: BinaryIO, seconds: float) -> tuple[dict[str, Any], list[bytes]]:
        """In a thread: hand over an order and its picture, and take the answer; whatever goes wrong ends the child."""
        until = time.monotonic() + seconds
        try:
            self._send(len(head).to_bytes(_LENGTH_BYTES) + head, until)
            content.seek(0)
            while piece := content.read(_PIECE_BYTES):
                self._send(piece, until)
            told = json.loads(self._receive(int.from_bytes(self._receive(_LENGTH_BYTES, until)), until))
            return told, [self._receive(size, until) for size in told["sizes"]]
        except TimeoutError as slow:
            self.end()
            raise Unavailable("Images take too long to be read at the moment.") from slow
        except (OSError, EOFError) as broken:
            raise self._buried() from broken
        except BaseException:
            self.end()
            raise

    def _send(self, piece: bytes, until: float) -> None:
        self._socket.settimeout(max(0.001, until - time.monotonic()))
        self._socket.sendall(piece)

    def _receive(self, size: int, until: float) -> bytes:
        if not 0 <= size <= self._longest_answer:
            raise EOFError
        received = bytearray(size)
        view = memoryview(received)
        while view:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(received)

    def _buried(self) -> Exception:
        """What the end of the child means for whoever sent the picture. The kernel has ended it, or is about to."""
        try:
            ended = self._process.wait(_BURIAL_SECONDS)
        except subprocess.TimeoutExpired:
            ended = -signal.SIGKILL
        self.end()
        if ended == 0:
            return _LeftBefore()
        if ended == -signal.SIGKILL:  # by nobody here: the machine is short of memory, or an operator did it
            return Unavailable("Images cannot be read at the moment.")
        return UnsupportedMedia("This image takes more time or memory to be read than it may.")

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """In a thread: it takes a moment until a process is gone."""
        self._process.kill()
        self._process.wait()
        self._socket.close()
