"""Uploads one picture as evidence, and may be told to die at one of the storage's operations, in the middle or at once.

What the test of uploads' deaths runs as a process of its own.
"""

import asyncio
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from app.adapters.storage import Storage
from app.core.actor import Actor
from app.core.config import Settings, settings
from app.kernel import files
from app.kernel.platform import open_platform
from app.models.files import FilePurpose
from tests.support.world import picture


class MortalStorage(Storage):
    """Dies at its n-th operation: before it, in the middle of it, or after it. Never, for 0."""

    def __init__(self, configured: Settings, number: int, when: str) -> None:
        super().__init__(configured)
        self._left, self._when = number, when

    async def put(self, key: str, content: Any) -> None:
        await self._mortally(super().put(key, content), key)

    async def delete(self, key: str) -> None:
        await self._mortally(super().delete(key), key)

    async def _mortally(self, operation: Any, key: str) -> None:
        self._left -= 1
        if self._left == 0 and self._when == "middle":
            # What the storage of a folder has written so far, and not yet given its name.
            assert self._folder is not None
            _half_written(self._folder / f"{key}#1")
        if self._left == 0 and self._when != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        await operation
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _half_written(path: Path) -> None:
    path.write_bytes(b"half of it")


async def play(what: str, user_id: UUID, number: int, when: str) -> None:
    async with open_platform(settings()) as platform:
        object.__setattr__(platform, "storage", MortalStorage(settings(), number, when))
        if what == "sweep":
            await files.sweep(platform)
            return
        image = picture(800, 600)
        await files.store(platform, Actor(user_id), FilePurpose.EVIDENCE, io.BytesIO(image), len(image))


if __name__ == "__main__":
    asyncio.run(play(sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
