"""Private files: upload, and signed links to read."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, Response, UploadFile, status
from fastapi.responses import StreamingResponse

from app.kernel import files
from app.routers.dependencies import SignedIn, ThePlatform
from app.routers.problems import documented
from app.routers.uploads import UploadRoute
from app.schemas.files import FileLink, FilePurpose, StoredFile, UploadPurpose

router = APIRouter(prefix="/api/v1/files", tags=["files"], route_class=UploadRoute)
Expires = Annotated[int, Query(ge=0, le=10**11)]
Signature = Annotated[str, Query(max_length=100)]


@router.post("", status_code=status.HTTP_201_CREATED, responses=documented(401, 409, 415))
async def upload(
    file: UploadFile, purpose: Annotated[UploadPurpose, Form()], actor: SignedIn, platform: ThePlatform
) -> StoredFile:
    """Keep an image (JPEG, PNG, WebP; 10 MB) or, as proof, a video (MP4, WebM; 100 MB). Unused files are swept.

    Evidence is a JPEG or PNG of 800×600 pixels or more, either way up; it and photos are encoded anew.
    """
    return await files.store(platform, actor, FilePurpose(purpose), file.file, file.size or 0)


@router.get("/{file_id}", responses=documented(401, 404))
async def read_link(file_id: UUID, actor: SignedIn, platform: ThePlatform) -> FileLink:
    """A link that opens the file for a few minutes: for its owner and for whom the subject allows."""
    return await files.link(platform, actor, file_id)


@router.get(
    "/{file_id}/content",
    response_class=StreamingResponse,
    responses=documented(404)
    | {200: {"content": {"image/*": {}, "video/*": {}, "application/pdf": {}}, "description": "The bytes."}},
)
async def read_content(file_id: UUID, platform: ThePlatform, expires: Expires, signature: Signature) -> Response:
    """The bytes behind a signed link. Never rendered as a page, whatever is inside."""
    return _sent(file_id, await files.open_link(platform, file_id, "content", expires, signature))


@router.get(
    "/{file_id}/thumbnail",
    response_class=StreamingResponse,
    responses=documented(404) | {200: {"content": {"image/jpeg": {}}, "description": "The bytes."}},
)
async def read_thumbnail(file_id: UUID, platform: ThePlatform, expires: Expires, signature: Signature) -> Response:
    """The small copy of an image behind a signed link of its own."""
    return _sent(file_id, await files.open_link(platform, file_id, "thumbnail", expires, signature))


def _sent(file_id: UUID, opened: files.OpenFile) -> StreamingResponse:
    headers = {
        "Content-Disposition": f'attachment; filename="{file_id}"',
        "Content-Length": str(opened.size_bytes),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(opened.pieces, headers=headers, media_type=opened.content_type)
