"""The lead race, played from sign-up to approval with five providers on their sockets (leads.md)."""

import asyncio
import io

import httpx
from PIL import Image
from rich.console import Console

from app.demo.client import Person, Stage, perform
from app.services.flows import townspeople as town

_PROVIDERS = 5
_FEE_MINOR = 50_00


async def play(url: str, console: Console) -> int:
    """Play the flow and check what every side sees; 0 if all of it was as promised."""
    return await perform(url, console, _lead, "one winner, and everybody heard what concerns them")


async def _lead(stage: Stage) -> list[str]:
    customer = Person(stage.http, "Demo Customer")
    await customer.sign_up()
    stage.tell(customer.name, "has signed up with both codes")
    providers = await _plumbers(stage)
    await stage.listen(customer, *providers)
    return await _race(stage, customer, providers)


async def _plumbers(stage: Stage) -> list[Person]:
    """Five plumbers of the demo town, each with the fee of one lead in hand, topped up by the admin."""
    admin = Person(stage.http, "admin")
    await admin.sign_in(town.sample_sign_ins()[2][1], town.PASSWORD)
    people = [Person(stage.http, "provider") for _ in range(_PROVIDERS)]
    await asyncio.gather(*(p.sign_in(email, town.PASSWORD) for p, email in zip(people, town.plumbers(), strict=False)))
    for person in people:
        path = f"/api/v1/admin/users/{person.id}/top-ups"
        await admin.do("POST", path, json={"amount_minor": _FEE_MINOR, "reason": "the demo's lead fee"})
    stage.tell(admin.name, f"has topped up {_PROVIDERS} wallets by ₹{_FEE_MINOR / 100:.2f}")
    return people


async def _race(stage: Stage, customer: Person, providers: list[Person]) -> list[str]:
    request_id = await _post(customer)
    stage.tell(customer.name, "has posted a request")
    for provider in providers:
        await provider.hears("service_request.created")
    masked = await providers[0].do("GET", f"/api/v1/service-requests/{request_id}")
    stage.tell(providers[0].name, f"sees it {masked['latitude']}, {masked['longitude']}, customer {masked['customer']}")
    path = f"/api/v1/service-requests/{request_id}"
    await asyncio.gather(*(provider.do("POST", f"{path}/purchase") for provider in providers))
    unlocked = await providers[0].do("GET", path)
    stage.tell(providers[0].name, f"has bought the lead: {unlocked['customer']['name']}, {unlocked['address']}")
    await providers[0].do("POST", f"{path}/start")
    answers = await asyncio.gather(*(_complete(provider, request_id) for provider in providers))
    for provider, answer in zip(providers, answers, strict=True):
        code = "" if answer.is_success else answer.json()["code"]
        stage.tell(provider.name, f"handed in proof: {answer.status_code} {code}")
    winners = [p for p, answer in zip(providers, answers, strict=True) if answer.is_success]
    losers = [p for p in providers if p not in winners]
    await customer.hears("service_request.completed")
    for loser in losers:
        await loser.hears("service_request.lost")
    proof = await customer.do("GET", f"/api/v1/files/{(await customer.do('GET', path))['proof_id']}")
    stage.tell(customer.name, f"looks at the proof: {proof['content_type']}, {proof['size_bytes']} bytes")
    approved = await customer.do("POST", f"{path}/approve")
    for winner in winners:
        await winner.hears("service_request.approved")
    return _faults(answers, customer, winners, approved)


def _faults(
    answers: list[httpx.Response], customer: Person, winners: list[Person], approved: dict[str, str]
) -> list[str]:
    """What was not as promised."""
    faults = []
    if sorted(answer.status_code for answer in answers) != [200] + [409] * (_PROVIDERS - 1):
        faults.append(f"the race answered {[answer.status_code for answer in answers]}")
    if any(answer.json()["code"] != "already_completed" for answer in answers if answer.is_error):
        faults.append("a loser was not told already_completed")
    if [event["name"] for event in customer.events].count("service_request.completed") != 1:
        faults.append("the customer did not hear of exactly one completion")
    if [winner.id for winner in winners] != [approved["assigned_provider_id"]]:
        faults.append("the assigned provider is not the winner")
    return faults


async def _post(customer: Person) -> str:
    regions = {region["code"]: region for region in await customer.do("GET", "/api/v1/regions")}
    services = {service["slug"]: service for service in await customer.do("GET", "/api/v1/services")}
    home = regions[town.home_code()]
    payload = {
        "service_id": services["plumbing"]["id"],
        "description": "The kitchen tap has been dripping for days.",
        "answers": {"problem": "leak", "water_running": True},
        "address": "12 Karve Road",
        "position": {"latitude": home["latitude"], "longitude": home["longitude"]},
        "budget_minor": 800_00,
    }
    made = await customer.do("POST", "/api/v1/service-requests", json=payload)
    return str(made["id"])


async def _complete(provider: Person, request_id: str) -> httpx.Response:
    """Hand in a photo as the client apps do."""
    photo = io.BytesIO()
    Image.new("RGB", (640, 480), (90, 140, 200)).save(photo, "JPEG")
    return await provider.call(
        "POST",
        "/api/v1/service-request/complete",
        data={"requestId": request_id, "notes": "New washer, no drip."},
        files={"completionProof": ("tap.jpg", photo.getvalue(), "image/jpeg")},
    )
