"""The feed, by which ways its events also come, and the devices that they are pushed to (realtime.md: Feed)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Reading, SignedIn, ThePlatform, Writing, WritingOnce
from app.routers.problems import documented
from app.schemas.base import Done
from app.schemas.notifications import (
    Device,
    Feed,
    FeedPage,
    Preferences,
    PushKey,
    Read,
    RegisterDevice,
    SetPreferences,
)
from app.services.notifications import devices, feed, preferences

router = APIRouter(prefix="/api/v1", tags=["notifications"])


@router.get("/notifications", responses=documented(401))
async def list_notifications(session: Reading, actor: SignedIn, page: Annotated[FeedPage, Query()]) -> Feed:
    """Events that were addressed to the account, newest first, worded in its language."""
    return await feed.page(session, actor, page)


@router.post("/notifications/{event_id}/read", responses=documented(401, 404))
async def mark_read(event_id: UUID, session: Writing, actor: SignedIn) -> Read:
    """Mark one as read."""
    return Read(marked=await feed.mark_read(session, actor, event_id))


@router.post("/notifications/read", responses=documented(401))
async def mark_all_read(session: Writing, actor: SignedIn) -> Read:
    """Mark all as read."""
    return Read(marked=await feed.mark_all_read(session, actor))


@router.get("/me/notification-preferences", responses=documented(401))
async def read_preferences(session: Reading, actor: SignedIn) -> Preferences:
    """By which ways each family of events comes, with what can be chosen."""
    return await preferences.read(session, actor)


@router.put("/me/notification-preferences", responses=documented(401))
async def set_preferences(body: SetPreferences, session: Writing, actor: SignedIn) -> Preferences:
    """Choose; what is not named returns to its default."""
    return await preferences.put(session, actor, body)


@router.get("/push/key", responses=documented())
async def read_push_key(platform: ThePlatform) -> PushKey:
    """What a browser subscribes with. When it is another than a subscription was made for, subscribe anew."""
    return PushKey(public_key=platform.push.public_key)


@router.get("/me/devices", responses=documented(401))
async def list_devices(session: Reading, actor: SignedIn, platform: ThePlatform) -> list[Device]:
    """Browsers that events are pushed to."""
    return await devices.listed(session, platform, actor)


@router.post("/me/devices", status_code=status.HTTP_201_CREATED, responses=documented(401, 409))
async def register_device(body: RegisterDevice, session: Writing, actor: SignedIn, platform: ThePlatform) -> Device:
    """Have events pushed to this browser until its session ends; again for a browser that is registered."""
    return await devices.register(session, platform, actor, body)


@router.delete("/me/devices/{device_id}", responses=documented(401, 404))
async def remove_device(device_id: UUID, session: WritingOnce, actor: SignedIn) -> Done:
    """Push no more events to it."""
    await devices.remove(session, actor, device_id)
    return Done()
