"""Object storage: S3 or a folder, behind one small interface (obstore). Keys are ours, never a client's file name."""

from collections.abc import AsyncIterator
from typing import Any

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from app.core.config import Settings


class Storage:
    """Private objects by key. Nothing here is reachable from outside except through signed links of the API."""

    def __init__(self, settings: Settings) -> None:
        self._store: ObjectStore
        if settings.storage_url:
            self._store = from_url(settings.storage_url)
        else:
            folder = settings.data_folder.absolute() / "objects"
            folder.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(folder)

    async def put(self, key: str, content: Any) -> None:
        """Store an open binary file or bytes; obstore streams it in parts."""
        await obstore.put_async(self._store, key, content)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The object, piece by piece. Nothing comes if it is gone."""
        try:
            result = await obstore.get_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        async for piece in result.stream(min_chunk_size=256 * 1024):
            yield bytes(piece)

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
