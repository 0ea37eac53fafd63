"""Object storage: S3 or a folder, behind one small interface (obstore). Keys are ours, never a client's file name."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from app.core.config import Settings


class NoSuchObject(Exception):
    """Nothing lies under this key."""


class Storage:
    """Private objects by key. Nothing here is reachable from outside except through signed links of the API."""

    def __init__(self, settings: Settings) -> None:
        self._store: ObjectStore
        self._folder: Path | None = None
        if settings.storage_url:
            self._store = from_url(settings.storage_url)
        else:
            self._folder = settings.data_folder.absolute() / "objects"
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self._folder)

    async def put(self, key: str, content: Any) -> None:
        """Store an open binary file or bytes; obstore streams it in parts."""
        await obstore.put_async(self._store, key, content)

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """The object, piece by piece; `NoSuchObject`, before the first piece, if it is not there."""
        try:
            result = await obstore.get_async(self._store, key)
        except (NotFoundError, FileNotFoundError) as missing:
            raise NoSuchObject(key) from missing
        return _pieces(result)

    async def delete(self, key: str) -> None:
        """Remove the object; that it is gone already is fine."""
        try:
            await obstore.delete_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return

    async def keys(self) -> list[str]:
        """Every key, for the sweep and for tests."""
        found: list[str] = []
        async for batch in obstore.list(self._store):
            found += [entry["path"] for entry in batch]
        return found

    async def remove_unfinished(self, age_seconds: float) -> None:
        """Remove what was half written when a process died, long enough ago that nobody is still at it.

        In a folder only: there such a piece is a file beside the others, with `#` in its name, and no object yet. S3
        shows it to nobody, and a rule of the bucket for unfinished uploads removes it.
        """
        if self._folder is not None:
            await asyncio.to_thread(_remove_pieces, self._folder, time.time() - age_seconds)


async def _pieces(result: Any) -> AsyncIterator[bytes]:
    async for piece in result.stream(min_chunk_size=256 * 1024):
        yield bytes(piece)


def _remove_pieces(folder: Path, before: float) -> None:
    for piece in folder.glob("*#*"):
        try:
            if piece.stat().st_mtime < before:
                piece.unlink()
        except FileNotFoundError:
            continue
