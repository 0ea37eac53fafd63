"""What the parties of a subject do on its topic, and what they see of each other."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from app.core.ids import uuid7
from tests.support.rides import Status, ride
from tests.support.world import Person, World
from tests.ws.sockets import Frame, Served, ask, frame

RECHECK_SECONDS = 0.2
PERIOD_SECONDS = 0.4
PRESENCE_SECONDS = 1.5
TOPICS_PER_SOCKET = 5
SMALL = {
    "topic_recheck_seconds": RECHECK_SECONDS,
    "topic_message_seconds": PERIOD_SECONDS,
    "presence_seconds": PRESENCE_SECONDS,
    "topics_per_socket": TOPICS_PER_SOCKET,
    "hub_sweep_seconds": 0.2,
}
SILENCE_SECONDS = 0.3
HERE = {"latitude": 18.5074, "longitude": 73.8077}


async def until(socket: ClientConnection, **members: Any) -> Frame:
    """The next frame in which these members have these values; what comes before is passed over."""
    async with asyncio.timeout(5):
        while True:
            heard = await frame(socket)
            if all(heard.get(name) == value for name, value in members.items()):
                return heard


async def present(socket: ClientConnection, topic: str, *people: Person) -> None:
    """Wait until these and no others are present."""
    online = sorted(str(person.id) for person in people)
    await until(socket, type="presence", topic=topic, online=online)


async def silent(socket: ClientConnection) -> None:
    """Nothing comes."""
    with pytest.raises(TimeoutError):
        await frame(socket, SILENCE_SECONDS)


async def follow(app: Served, person: Person, topic: str, *with_people: Person) -> ClientConnection:
    """A socket that follows the topic and knows that these people do too."""
    socket = await app.open(person)
    assert await ask(socket, {"op": "subscribe", "topic": topic}) == {"type": "subscribed", "topic": topic}
    await present(socket, topic, person, *with_people)
    return socket


async def send(socket: ClientConnection, op: str, topic: str, **more: Any) -> None:
    await socket.send(json.dumps({"op": op, "topic": topic} | more))


async def a_ride(world: World, *, status: Status = Status.MOVING) -> tuple[Person, Person, str]:
    """A driver, somebody who rides along, and their topic."""
    driver, rider = await world.person(), await world.person()
    return driver, rider, await ride(world, uuid7(), driver, [rider], status)


def rides_id(topic: str) -> Any:
    return topic.partition(":")[2]
