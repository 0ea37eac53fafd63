"""The demo town: two regions, 45 services, and people who live and work there. Made once; found again afterwards."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Numeric, bindparam, select, update

from app.core.actor import Actor
from app.core.config import Environment
from app.core.database import Session, Statement
from app.kernel.platform import Platform
from app.models.catalogue import services
from app.models.providers import providers
from app.models.regions import regions
from app.models.users import Role
from app.schemas.advertised_services import AdvertiseService
from app.schemas.base import Position
from app.schemas.providers import ApplyAsProvider
from app.schemas.regions import CreateRegion
from app.schemas.teams import Invitee
from app.schemas.users import Register
from app.schemas.wallets import TopUp
from app.services.advertised_services import publishing
from app.services.catalogue import administration as catalogue
from app.services.flows import townspeople
from app.services.providers import onboarding
from app.services.providers.lifecycle import Action
from app.services.regions import administration
from app.services.teams import administration as teams
from app.services.teams import membership
from app.services.teams import queries as team_queries
from app.services.users import accounts
from app.services.wallets import wallets

_WALLET_MINOR: Final = 5_000_00

_HAS_TOWN = Statement(select(regions.c.id).limit(1))
_SERVICE_IDS = Statement(select(services.c.slug, services.c.id))
_RATE = Statement(
    update(providers)
    .where(providers.c.id == bindparam("provider_id"))
    .values(rating_average=bindparam("rating_average", type_=Numeric), rating_count=bindparam("rating_count"))
)


async def seed(platform: Platform) -> bool:
    """Bring the catalogue up to date and, in an empty database, make the town; False if none was made.

    Never in production: everybody knows the password of the town's people, its admin's included.
    """
    password_hash = await platform.passwords.hash(townspeople.PASSWORD)
    async with platform.database.write() as session:
        await catalogue.fill(session)
        production = platform.settings.environment is Environment.PRODUCTION
        if production or await session.scalar(_HAS_TOWN) is not None:
            return False
        await _people(session, platform, townspeople.read(), password_hash)
    return True


async def _people(session: Session, platform: Platform, town: dict[str, Any], password_hash: str) -> None:
    region_ids = {}
    for region in town["regions"]:
        wanted = CreateRegion(
            code=region["code"], name=region["name"], zipcodes=region["zipcodes"], centre=Position(**region["centre"])
        )
        region_ids[region["code"]] = (await administration.create(session, wanted, region["boundary"])).id
    admin: Actor | None = None
    for person in town["people"]["staff"]:
        user_id = await _person(session, person, password_hash)
        for role in person["roles"]:
            await accounts.grant(session, user_id, Role(role))
        for code in person["regions"]:
            await administration.appoint_manager(session, region_ids[code], user_id)
        if Role.ADMIN in person["roles"]:
            admin = Actor(user_id, frozenset({Role.ADMIN}))
    if admin is None:
        raise LookupError("the town has no admin")
    customers = [await _person(session, person, password_hash) for person in town["people"]["customers"]]
    for currency in platform.settings.house_currencies:
        gift = TopUp(amount_minor=_WALLET_MINOR, currency=currency, reason="demo money")
        await wallets.top_up(session, admin, customers[0], gift)
    service_ids = {row["slug"]: row["id"] for row in await session.all(_SERVICE_IDS)}
    for person in town["people"]["providers"]:
        await _provider(session, platform, admin, person, service_ids, password_hash)
    for person in town["people"]["boosters"]:
        await accounts.grant(session, await _person(session, person, password_hash), Role.BOOSTER)
    await _team(session, platform, town, password_hash)


async def _team(session: Session, platform: Platform, town: dict[str, Any], password_hash: str) -> None:
    """Advertisers who review each other's work orders, and what they sell: the first one has made the team."""
    team_id: UUID | None = None
    for person in town["people"]["advertisers"]:
        actor = Actor(await _person(session, person, password_hash), frozenset({Role.ADVERTISER}))
        await accounts.grant(session, actor.user_id, Role.ADVERTISER)
        if team_id is None:
            owner, team_id = actor, (await teams.create(session, actor, town["team"])).id
        else:
            await membership.invite(session, platform, owner, team_id, Invitee(user_id=actor.user_id))
            invitation = await team_queries.team(session, actor, team_id)
            await membership.accept(session, platform, actor, invitation.membership_id)
        for service in person["services"]:
            if platform.settings.knows_currency(service["currency"]):
                await publishing.publish(session, actor, AdvertiseService(**service, team_id=team_id))


async def _person(session: Session, person: dict[str, Any], password_hash: str) -> UUID:
    wanted = Register(
        name=person["name"],
        email=person["email"],
        phone=person["phone"],
        password=townspeople.PASSWORD,
        language=person.get("language", "en"),
    )
    return await accounts.create_verified(session, wanted, password_hash)


async def _provider(
    session: Session,
    platform: Platform,
    admin: Actor,
    person: dict[str, Any],
    service_ids: dict[str, UUID],
    password_hash: str,
) -> None:
    actor = Actor(await _person(session, person, password_hash))
    application = ApplyAsProvider(
        business_name=person["business_name"],
        bio=person["bio"],
        position=Position(latitude=person["latitude"], longitude=person["longitude"]),
        service_radius_metres=person["service_radius_metres"],
        service_ids=[service_ids[slug] for slug in person["services"]],
    )
    await onboarding.apply(session, platform, actor, application)
    await onboarding.decide(session, admin, actor.user_id, Action.APPROVE)
    await session.execute(
        _RATE,
        provider_id=actor.user_id,
        rating_average=person["rating_average"],
        rating_count=person["rating_count"],
    )
    await wallets.top_up(session, admin, actor.user_id, TopUp(amount_minor=_WALLET_MINOR, reason="demo money"))
