"""Health, the declared lifecycles, tickets for the socket, and, in development, the messages that were sent."""

from inspect import cleandoc
from typing import Annotated

from fastapi import APIRouter, Path, Query, status
from fastapi.responses import JSONResponse

from app.adapters.messages import sent_messages
from app.core.errors import NotFound
from app.kernel.documentation import LifecycleDocument, lifecycles
from app.kernel.health import Readiness, readiness
from app.routers.dependencies import SignedIn, ThePlatform
from app.routers.problems import documented, known
from app.schemas.base import Done, ProblemKind
from app.schemas.notifications import Ticket
from app.schemas.users import SentMessage
from app.services.notifications import tickets

router = APIRouter()


@router.get("/healthz", tags=["health"])
async def alive() -> Done:
    """The process answers."""
    return Done()


@router.get("/readyz", tags=["health"], responses={503: {"model": Readiness, "description": "Not ready."}})
async def ready(platform: ThePlatform) -> JSONResponse:
    """The database answers and is at the newest migration, and Valkey answers."""
    found = await readiness(platform)
    return JSONResponse(found.model_dump(), status.HTTP_200_OK if found.ready else status.HTTP_503_SERVICE_UNAVAILABLE)


@router.get("/api/v1/lifecycles", tags=["documentation"], responses=documented())
async def list_lifecycles() -> list[LifecycleDocument]:
    """Every aggregate's transitions, from the tables that the server runs."""
    return lifecycles()


@router.get("/problems/{code}", tags=["documentation"], responses=documented(404))
async def read_problem(code: Annotated[str, Path(max_length=64)]) -> ProblemKind:
    """What the `type` of a problem document refers to."""
    kind = known().get(code)
    if kind is None:
        raise NotFound()
    description = cleandoc(kind.__doc__) if kind.__doc__ else None
    return ProblemKind(code=kind.code, status=kind.status, title=kind.title, description=description)


@router.post("/api/v1/ws/tickets", tags=["me"], status_code=status.HTTP_201_CREATED, responses=documented(401))
async def issue_ticket(actor: SignedIn, platform: ThePlatform) -> Ticket:
    """A ticket that opens `/ws/notifications/` once, within 30 seconds."""
    return await tickets.issue(platform, actor)


@router.get("/api/v1/dev/messages", tags=["development"], responses=documented(404))
async def read_sent_messages(
    platform: ThePlatform, to: Annotated[str, Query(min_length=1, max_length=254)]
) -> list[SentMessage]:
    """Mails and text messages that the console senders sent lately. In production there is no such path."""
    if not platform.settings.shows_sent_messages:
        raise NotFound()
    async with platform.valkey.commands() as client:
        return [SentMessage(**message) for message in await sent_messages(client, to)]
