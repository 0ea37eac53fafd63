"""Forms with a file: read as a stream, and no further than to where the file is larger than it may be."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.config import Settings
from app.core.errors import PayloadTooLarge, Problem
from app.kernel import media

_FIELDS: Final = 10
_HEAD_BYTES: Final = 12


class UploadRoute(APIRoute):
    """A route whose form is bounded while it is read; what takes no form is a plain route."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def bounded(request: Request) -> Response:
            try:
                return await handle(_UploadRequest(request.scope, request.receive))
            except HTTPException as error:
                # The framework takes whatever happens while it reads a body for a malformed body.
                if isinstance(error.__cause__, Problem):
                    raise error.__cause__ from error
                raise

        return bounded


class _UploadRequest(Request):
    async def _get_form(self, **limits: Any) -> FormData:
        if self._form is None and self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            parser = _Bounded(self.headers, self.stream(), self.app.state.settings)
            try:
                self._form = await parser.parse()
            except MultiPartException as malformed:
                raise HTTPException(400, malformed.message) from None
        return await super()._get_form(**limits)


class _Bounded(MultiPartParser):
    """Counts the bytes of a file as they come. What does not begin as a video does has the limit of an image."""

    def __init__(self, headers: Headers, body: AsyncGenerator[bytes, None], settings: Settings) -> None:
        super().__init__(headers, body, max_files=1, max_fields=_FIELDS)
        self._settings = settings
        self._seen, self._head = 0, b""

    async def parse(self) -> FormData:
        form = await super().parse()
        # A file that breaks off is in no form, and nobody else would give back its buffer, which may be on the disk.
        file = self._current_part.file
        if file is not None and all(value is not file for value in form.values()):
            await file.close()
        return form

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._seen, self._head = 0, b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is not None:
            self._head += data[start : min(end, start + _HEAD_BYTES - len(self._head))]
            self._seen += end - start
            settings = self._settings
            limit = settings.video_limit_bytes if media.looks_like_video(self._head) else settings.image_limit_bytes
            if self._seen > limit:
                raise PayloadTooLarge(limit_bytes=limit)
        super().on_part_data(data, start, end)
