"""People and objects in every state, so that generated requests get past 401 and 404 into the deep code."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any
from uuid import UUID

import httpx

from app.core.actor import Actor
from app.models.payouts import PayoutStatus
from app.models.users import Role
from app.models.work_orders import WorkOrderStatus
from app.schemas.providers import ApplyAsProvider
from app.services.flows import invoicing
from app.services.invoices import rendering
from app.services.providers import onboarding
from app.services.regions import administration as regions
from app.services.service_requests.events import LeadPurchased
from tests.advertised_services.steps import offer
from tests.api_keys.test_api_keys import made
from tests.chats.steps import asked, report_of
from tests.payments.steps import paid, top_up
from tests.payouts.steps import hand_in, payout_of, with_profile
from tests.role_applications.steps import applied, decide
from tests.support.fake_push import Browser, PushService
from tests.support.world import ANSWERS, HERE, PASSWORD, Person, World, picture
from tests.teams.steps import team_of
from tests.webhook_endpoints.steps import register
from tests.work_orders import steps as work_orders

NOWHERE = "http://127.0.0.1:9/hook"
PURCHASE = {"reason": "unreachable", "note": "Nobody answers the phone."}


class Stage:
    """Who may ask (None is a stranger), and what there is to ask about, by the name of the path parameter."""

    def __init__(self, owner: Person, cast: Sequence[Person | None]) -> None:
        self.owner = owner
        """Whose requests, photo and sessions these are."""
        self.ids: dict[str, list[str]] = {}
        self.body: dict[str, Any] = {}
        self.turn = 1
        """How many operations it has been set for."""
        self.is_worn = False
        """A session of the cast has been ended: whoever comes now would be stopped at the door."""
        self._cast = cast
        self._random = Random(7)  # the same choices whenever the same requests are generated
        self._caller: Person | None = None
        self._furthest: Person | None = None

    def at_first(self) -> "Stage":
        """The same people and objects, with nobody heard yet."""
        stage = Stage(self.owner, self._cast)
        stage.ids, stage.body, stage.turn = self.ids, self.body, self.turn + 1
        return stage

    def next_caller(self) -> Person | None:
        """Anybody, and every other time whoever got furthest last."""
        again = self._furthest is not None and self._random.random() < 0.5
        self._caller = self._furthest if again else self._random.choice(self._cast)
        return self._caller

    def heard(self, status: int, shown: str | bytes | None) -> None:
        """What the caller was answered who had shown this at the door: not always the own token."""
        if status < 300 or status == 409:
            self._furthest = self._caller
        knocked = self._caller is not None and shown == self._caller.headers["Authorization"]
        self.is_worn = self.is_worn or (status == 401 and knocked)

    def is_lifelike(self) -> bool:
        """Whether the request is to be about things that exist: three times of four."""
        return self._random.random() < 0.75

    def path(self, generated: Mapping[str, Any]) -> dict[str, Any]:
        """The path's parameters, with ids that exist in the place of those that name a kind of object."""
        return {
            name: self._random.choice(self.ids[name]) if name in self.ids else value
            for name, value in generated.items()
        }

    def lifelike(self, generated: Any) -> Any:
        """The payload, with references, positions and answers that the catalogue and the region know."""
        if not isinstance(generated, dict):
            return generated
        return {key: self.body.get(key, value) for key, value in generated.items()}


async def set_stage(world: World) -> Stage:
    """A customer with requests in each state, providers who bought, applicants to review, staff, accounts to decide."""
    customer, completed, (winner,) = await world.completed()
    provider = await world.provider()
    admin, support, manager = [await world.person(role) for role in (Role.ADMIN, Role.SUPPORT, Role.MANAGER)]
    applicant, *victims = [await world.person() for _ in range(5)]
    async with world.platform.database.write() as session:
        await regions.appoint_manager(session, world.region_id, manager.id)
    application = ApplyAsProvider(
        business_name="Taps & Co",
        bio="We mend taps.",
        position=HERE,
        service_radius_metres=5000,
        service_ids=[world.services["plumbing"]],
    )
    async with world.platform.database.write() as session:
        for person in (applicant, victims[0]):
            await onboarding.apply(session, world.platform, Actor(person.id), application)
    requests = [await world.request(customer) for _ in range(4)]
    leads = []
    for request_id in requests[:2]:
        bought = await winner.post(f"/api/v1/service-requests/{request_id}/purchase")
        leads.append(str(bought.json()["id"]))
    await winner.post(f"/api/v1/leads/{leads[0]}/report", PURCHASE)
    feed = (await customer.get("/api/v1/notifications")).json()["items"]
    sessions = (await customer.get("/api/v1/auth/sessions")).json()
    device = await _registered_browser(customer)
    suspended, provider_suspended = await world.person(), await world.provider()
    for path, person in (("admin/users", suspended), ("providers", provider_suspended)):
        await admin.post(f"/api/v1/{path}/{person.id}/suspend", {"reason": "for the test"})
    payouts = [await payout_of(world, await with_profile(world), status) for status in PayoutStatus]
    for person in (customer, victims[2]):
        await hand_in(person)
    photo, proof, document = [
        await person.upload(purpose)
        for person, purpose in ((customer, "photo"), (winner, "proof"), (victims[1], "document"))
    ]
    payments = [await top_up(customer) for _ in range(3)]
    for payment in payments[1:]:
        await paid(world, payment)
    link = httpx.URL((await customer.get(f"/api/v1/files/{photo}")).json()["url"])
    async with world.platform.database.write() as session:
        invoice = await invoicing.document(session, LeadPurchased.name, UUID(leads[0]))
    assert invoice is not None
    await rendering.render(world.platform, invoice.id)
    team, advertisers, memberships = await team_of(world)
    offered = [await offer(person, team_id=team["id"]) for person in advertisers]
    candidates = [await applied(victims[place], "driver") for place in range(3)]
    for candidate, action in zip(candidates, ("approve", "reject"), strict=False):
        await decide(admin, candidate, action)
    booster = await world.person(Role.BOOSTER)
    await work_orders.top_up(world, customer, 100 * work_orders.PRICE, offered[0]["currency"])
    orders = [
        await work_orders.bring(
            world, status, buyer=customer, booster=booster, manager=advertisers[0], offered=offered[0]
        )
        for status in WorkOrderStatus
    ]
    images = (await work_orders.evidence(booster))["image_ids"]
    chat = await asked(world, customer, provider)
    sent = [await chat.say(person) for person in (provider, customer, provider, customer)]
    report = await report_of(chat, customer, sent[0])
    endpoint = await register(customer, NOWHERE, "*")
    stage = Stage(
        customer, [customer, winner, booster, *advertisers, admin, provider, manager, support, victims[1], None]
    )
    stage.ids = {
        "request_id": [completed, *requests],
        "lead_id": leads,
        "provider_id": [str(person.id) for person in (applicant, provider_suspended, victims[0], provider)],
        "user_id": [str(person.id) for person in (suspended, *victims[1:])],
        "file_id": [photo, proof, document],
        "payout_id": payouts,
        "invoice_id": [str(invoice.id)],
        "endpoint_id": [endpoint["id"]],
        "key_id": [(await made(customer))["id"] for _ in range(3)],
        "event_id": [item["event"]["id"] for item in feed],
        "session_id": [item["id"] for item in sessions],
        "application_id": candidates,
        "team_id": [team["id"]],
        "membership_id": memberships,
        "advertised_service_id": [service["id"] for service in offered],
        "device_id": [device],
        "work_order_id": orders,
        "region_id": [str(world.region_id)],
        "conversation_id": [chat.id],
        "message_id": [message["id"] for message in sent],
        "report_id": [report],
        "payment_id": [payment["id"] for payment in payments],
        "provider": ["sandbox"],
        "code": ["not_found", "validation_failed"],
    }
    stage.body = {
        "endpoint": "https://fcm.googleapis.com/fcm/send/abc",
        "family": "service_request",
        "url": NOWHERE,
        "types": ["*"],
        "scopes": ["events:read"],
        "expires_at": None,
        "service_id": str(world.services["plumbing"]),
        "service_ids": [str(world.services["plumbing"])],
        "photo_ids": [photo],
        "document_ids": [document],
        "proof_id": proof,
        "requestId": requests[1],
        "user_id": str(victims[2].id),
        "subject_id": None,  # of a payment: a top-up
        "team_id": team["id"],
        "advertised_service_id": offered[0]["id"],
        "booster_id": str(booster.id),
        "image_ids": images,
        "currency": "INR",
        "position": HERE.model_dump(),
        "centre": HERE.model_dump(),
        "answers": ANSWERS,
        "latitude": HERE.latitude,
        "longitude": HERE.longitude,
        "file": picture(),
        "completionProof": picture(),
        "revision": 1,
        "email": customer.email,
        "password": PASSWORD,
        "phone": "+919876543210",
        "value": "somebody.else@mail.localbazaar.in",
        "expires": link.params["expires"],
        "signature": link.params["signature"],
        "refresh_token": customer.refresh_token,
    }
    return stage


async def _registered_browser(person: Person) -> str:
    """The id of a device that somebody has registered."""
    subscription = Browser(PushService(), "https://fcm.googleapis.com").subscription
    answer = await person.post("/api/v1/me/devices", subscription)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
