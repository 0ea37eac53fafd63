"""The processes that decode images: bounded, kept for the next image, gone when they should be."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.core.config import Settings
from app.core.errors import Unavailable, UnsupportedMedia
from app.kernel.images import Images, Order, Picture
from tests.kernel.test_media import png_bomb
from tests.support.world import picture

ORDER = Order(("JPEG", "PNG"), rewritten=True)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@asynccontextmanager
async def decoding(settings: Settings, **more: float) -> AsyncIterator[Images]:
    images = Images(settings.model_copy(update=more))
    try:
        yield images
    finally:
        await images.close()


async def read(images: Images, content: bytes = b"", whose: UUID | None = None) -> Picture:
    content = content or picture()
    return await images.read(ORDER, io.BytesIO(content), len(content), whose=whose or uuid4())


def processes(parent: int | None = None) -> dict[int, str]:
    """The processes of a parent, and the state of each; one that has ended and was not waited for is a `Z`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        state, parent_pid = told(int(folder.name), "stat").rpartition(b")")[2].split()[:2] or (b"", b"-1")
        if int(parent_pid) == (parent or os.getpid()):
            found[int(folder.name)] = state.decode()
    return found


def children(parent: int | None = None) -> set[int]:
    """Those of them that decode images, and have not ended."""
    return {pid for pid, state in processes(parent).items() if state != "Z" and b"image_child" in told(pid, "cmdline")}


def unburied() -> set[int]:
    """Those of this process that have ended, and were not waited for."""
    return {pid for pid, state in processes().items() if state == "Z"}


def told(pid: int, name: str) -> bytes:
    """What the kernel tells of a process; nothing, once it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def gone(pids: set[int]) -> None:
    async with asyncio.timeout(20):
        while any(told(pid, "cmdline") for pid in pids):  # noqa: ASYNC110 - the kernel tells no other way
            await asyncio.sleep(0.02)


async def read_for_ever(images: Images, content: bytes) -> None:
    while True:
        await read(images, content)


async def test_they_are_started_when_needed_bounded_in_number_and_kept(configured: Settings) -> None:
    before = children()
    async with decoding(configured, image_children=2) as images:
        assert children() == before
        await read(images)
        (first,) = children() - before
        await asyncio.gather(*(read(images) for _ in range(10)))
        mine = children() - before
        assert first in mine
        assert len(mine) == 2
    assert children() == before


async def test_they_hold_no_secret_and_can_open_nothing(configured: Settings) -> None:
    before = children()
    async with decoding(configured) as images:
        await read(images)
        (child,) = children() - before
        assert told(child, "environ").strip(b"\0") in (b"", b"LC_CTYPE=C.UTF-8")
        limits = told(child, "limits").decode().splitlines()
        assert [int(line.split()[3]) for line in limits if line.startswith("Max open files")] == [3]
        assert open_files(child) == 3


async def test_one_that_ended_is_replaced_unseen(configured: Settings) -> None:
    before = children()
    async with decoding(configured, image_child_idle_seconds=0.05, images_per_child=2) as images:
        for _ in range(3):
            await read(images)
            await gone(children() - before)
        for _ in range(5):
            await read(images)


async def test_one_that_is_ended_from_outside_costs_one_picture_at_most(configured: Settings) -> None:
    before = children()
    async with decoding(configured) as images:
        await read(images)
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        with pytest.raises(Unavailable):
            await read(images)
        assert (await read(images)).content_type == "image/jpeg"


async def test_too_much_time_or_memory_is_refused_and_the_next_picture_is_read(configured: Settings) -> None:
    hungry = png_bomb(5000, 5000)
    async with decoding(configured, image_cpu_seconds=0.001) as images:
        with pytest.raises(UnsupportedMedia):
            await read(images, hungry)
    async with decoding(configured, image_memory_bytes=110 * 1024 * 1024) as images:
        for _ in range(2):
            with pytest.raises(UnsupportedMedia):
                await read(images, picture(5000, 5000))
            assert (await read(images)).content_type == "image/jpeg"


async def test_who_waits_too_long_is_told_so(configured: Settings) -> None:
    async with decoding(configured, image_children=1, image_wait_seconds=0.01) as images:
        outcomes = await asyncio.gather(*(read(images, png_bomb(5000, 5000)) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(Unavailable) == 2


async def test_who_sends_many_at_once_lets_others_go_first(configured: Settings) -> None:
    # Given somebody whose pictures wait for each other, behind one that is being read
    flooding, other = uuid4(), uuid4()
    done: list[UUID] = []

    async def sent(whose: UUID) -> None:
        await read(images, whose=whose)
        done.append(whose)

    async with decoding(configured, image_children=1) as images, asyncio.TaskGroup() as everybody:
        for _ in range(8):
            everybody.create_task(sent(flooding))
        await asyncio.sleep(0)
        # When somebody else sends one, then it is read behind two of them at most
        everybody.create_task(sent(other))
    assert len(done) == 9
    assert done.index(other) <= 2


async def test_one_that_is_given_up_ends(configured: Settings) -> None:
    before = children()
    async with decoding(configured) as images:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read_for_ever(images, png_bomb(5000, 5000)), 0.3)
        assert (await read(images)).content_type == "image/jpeg"
    await gone(children() - before)


async def test_one_that_is_given_up_before_a_thread_was_free_for_it_is_buried_too(configured: Settings) -> None:
    before, dead = children(), unburied()
    free = threading.Event()
    async with decoding(configured) as images:
        # Given a picture for which there is a child, and no thread
        others = [asyncio.create_task(asyncio.to_thread(free.wait)) for _ in range(50)]
        try:
            await asyncio.sleep(0)
            reading = asyncio.create_task(read(images))
            await asyncio.sleep(0)
            assert children() - before
            # When nobody wants it any more
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        finally:
            free.set()
            await asyncio.gather(*others)
    # Then nothing is left of the child
    assert children() == before
    assert not unburied() - dead


async def test_they_end_with_their_parent_however_it_ends(configured: Settings) -> None:
    script = (
        "import asyncio, io, sys; from app.core.config import Settings; from app.kernel.images import *\n"
        "from tests.kernel.test_images import ORDER; from tests.support.world import picture\n"
        "async def main():\n"
        "    images = Images(Settings()); await images.read(ORDER, io.BytesIO(picture()), len(picture()), whose=1)\n"
        "    print('read', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"read\n"
    mine = children(parent.pid)
    assert len(mine) == 1
    parent.kill()
    await parent.wait()
    await gone(mine)
