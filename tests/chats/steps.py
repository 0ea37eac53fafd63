"""What people do in conversations, over HTTP."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx

from app.core.actor import Actor
from app.models.users import Role
from app.services.chats import opening
from tests.support.world import Person, World

PATH = "/api/v1/conversations"


@dataclass(frozen=True)
class Chat:
    """A conversation between a customer and a provider."""

    id: str
    request_id: str
    customer: Person
    provider: Person

    @property
    def messages(self) -> str:
        return f"{PATH}/{self.id}/messages"

    async def say(self, person: Person, text: str = "Hello", **more: Any) -> dict[str, Any]:
        """Send a message; the answer."""
        return await succeeded(await person.post(self.messages, {"text": text} | more))

    async def heard(self, person: Person) -> list[dict[str, Any]]:
        """All messages as the person reads them, oldest first."""
        return list(reversed((await succeeded(await person.get(f"{self.messages}?limit=100")))["items"]))

    async def read(self, person: Person, number: int) -> dict[str, Any]:
        return await succeeded(await person.call("PUT", f"{PATH}/{self.id}/read", json={"number": number}))


async def succeeded(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def about(request_id: str, provider: Person | None = None) -> dict[str, Any]:
    """What is sent to open the conversation about a request."""
    body: dict[str, Any] = {"subject_type": "service_request", "subject_id": request_id}
    return body if provider is None else body | {"counterpart_id": str(provider.id)}


async def asked(world: World, customer: Person | None = None, provider: Person | None = None) -> Chat:
    """A provider who has not bought the lead begins to talk with the customer: contacts are not open."""
    customer, provider = customer or await world.person(name="Asha Kulkarni"), provider or await world.provider()
    request_id = await world.request(customer)
    opened = await succeeded(await provider.post(PATH, about(request_id)))
    return Chat(opened["id"], request_id, customer, provider)


async def bought(world: World) -> Chat:
    """A provider who has bought the lead talks with the customer."""
    chat = await asked(world)
    await succeeded(await chat.provider.post(f"/api/v1/service-requests/{chat.request_id}/purchase"))
    return chat


async def listed(person: Person) -> list[dict[str, Any]]:
    """The person's conversations."""
    items: list[dict[str, Any]] = (await succeeded(await person.get(f"{PATH}?limit=100")))["items"]
    return items


async def rejected(world: World, chat: Chat) -> int:
    """What a flow does when a provider rejects."""
    async with world.platform.database.write() as session:
        actor = Actor(chat.provider.id, frozenset({Role.PROVIDER}))
        return await opening.soft_delete(session, ("service_request", UUID(chat.request_id)), actor)


async def report_of(chat: Chat, person: Person, message: dict[str, Any]) -> str:
    """The person reports the message; the id of the report."""
    path = f"/api/v1/messages/{message['id']}/reports"
    return str((await succeeded(await person.post(path, {"reason": "abuse", "note": "Rude."})))["id"])


def new_id() -> str:
    return str(uuid4())
