"""The own API keys. A key makes and revokes none."""

from uuid import UUID

from fastapi import APIRouter, status

from app.routers.dependencies import Reading, SignedIn, ThePlatform, Writing, WritingOnce
from app.routers.problems import documented
from app.schemas.api_keys import ApiKey, MakeApiKey, NewApiKey
from app.schemas.base import Done
from app.services.api_keys import keys

router = APIRouter(prefix="/api/v1/me/api-keys", tags=["integrators"])


# No Idempotency-Key: the stored answer would hold the key.
@router.post("", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 409, 429))
async def make(body: MakeApiKey, session: Writing, actor: SignedIn, platform: ThePlatform) -> NewApiKey:
    """Make a key for the own account. It is shown in this answer and never again."""
    return await keys.make(session, platform, actor, body)


@router.get("", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn) -> list[ApiKey]:
    """The keys that live, newest first."""
    return await keys.listed(session, actor)


@router.delete("/{key_id}", responses=documented(401, 404))
async def revoke(key_id: UUID, session: WritingOnce, actor: SignedIn) -> Done:
    """End a key, at once and everywhere."""
    await keys.revoke(session, actor, key_id)
    return Done()
