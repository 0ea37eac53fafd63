"""Teams of advertisers: who may review each other's work orders (work-orders.md)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from app.routers.dependencies import Advertiser, OnlyOnce, Reading, SignedIn, ThePlatform, Writing
from app.routers.problems import documented
from app.schemas.base import Done, Page, PageQuery
from app.schemas.teams import Invitee, ListTeams, MyTeam, NameTeam, TeamMember, TeamMembership, TransferTeam
from app.services.teams import administration, membership, queries
from app.services.teams.lifecycle import Action

router = APIRouter(prefix="/api/v1", tags=["teams"])
_OWNER = documented(401, 403, 404)
_ACTION = documented(401, 403, 404, 409)


@router.post("/teams", status_code=status.HTTP_201_CREATED, responses=documented(401, 403, 409))
async def create(body: NameTeam, session: Writing, actor: Advertiser, once: OnlyOnce) -> MyTeam:
    """Make a team; its owner is its first member."""
    return await once(lambda: administration.create(session, actor, body.name))


@router.get("/teams", responses=documented(401))
async def list_own(session: Reading, actor: SignedIn, page: Annotated[ListTeams, Query()]) -> Page[MyTeam]:
    """The teams that one is in, or those that one is invited to."""
    return await queries.own(session, actor, page)


@router.get("/teams/{team_id}", responses=documented(401, 404))
async def read(team_id: UUID, session: Reading, actor: SignedIn) -> MyTeam:
    """One of them."""
    return await queries.team(session, actor, team_id)


@router.patch("/teams/{team_id}", responses=_OWNER)
async def rename(team_id: UUID, body: NameTeam, session: Writing, actor: Advertiser) -> MyTeam:
    return await administration.rename(session, actor, team_id, body.name)


@router.delete("/teams/{team_id}", responses=_OWNER)
async def delete(team_id: UUID, session: Writing, actor: SignedIn) -> Done:
    """Dissolve the team; services that were published under it go on as their advertisers' own."""
    await administration.delete(session, actor, team_id)
    return Done()


@router.post("/teams/{team_id}/transfer", responses=_ACTION)
async def transfer(team_id: UUID, body: TransferTeam, session: Writing, actor: SignedIn) -> MyTeam:
    """Hand the team to another active member."""
    return await administration.transfer(session, actor, team_id, body.user_id)


@router.get("/teams/{team_id}/members", responses=documented(401, 404))
async def list_members(
    team_id: UUID, session: Reading, actor: SignedIn, page: Annotated[PageQuery, Query()]
) -> Page[TeamMember]:
    """The active members, for themselves."""
    return await queries.members(session, actor, team_id, page)


@router.post(
    "/teams/{team_id}/invitations",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(401, 403, 404, 429),
)
async def invite(team_id: UUID, body: Invitee, session: Writing, actor: Advertiser, platform: ThePlatform) -> Done:
    """Invite an advertiser. The answer is the same, whether there is one or not."""
    await membership.invite(session, platform, actor, team_id, body)
    return Done()


@router.post("/teams/{team_id}/invitations/withdraw", status_code=status.HTTP_202_ACCEPTED, responses=_OWNER)
async def withdraw(team_id: UUID, body: Invitee, session: Writing, actor: SignedIn) -> Done:
    """Take an invitation back. The answer is the same, whether there was one or not."""
    await membership.withdraw(session, actor, team_id, body)
    return Done()


@router.post("/team-memberships/{membership_id}/accept", responses=_ACTION)
async def accept(membership_id: UUID, session: Writing, actor: Advertiser, platform: ThePlatform) -> TeamMembership:
    """Join the team that one is invited to (`GET /teams?invited=true`)."""
    return await membership.accept(session, platform, actor, membership_id)


@router.post("/team-memberships/{membership_id}/decline", responses=_ACTION)
async def decline(membership_id: UUID, session: Writing, actor: SignedIn) -> TeamMembership:
    """Do not join; the owner is not told."""
    return await membership.end(session, actor, membership_id, Action.DECLINE)


@router.post("/team-memberships/{membership_id}/leave", responses=_ACTION)
async def leave(membership_id: UUID, session: Writing, actor: SignedIn) -> TeamMembership:
    """Leave the team, at once; the own services go along. The owner stays."""
    return await membership.end(session, actor, membership_id, Action.LEAVE)


@router.post("/team-memberships/{membership_id}/remove", responses=_ACTION)
async def remove(membership_id: UUID, session: Writing, actor: SignedIn) -> TeamMembership:
    """The owner removes a member, at once; that member's services go along."""
    return await membership.end(session, actor, membership_id, Action.REMOVE)
