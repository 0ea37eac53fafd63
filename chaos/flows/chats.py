"""People write to each other, say the same again when no answer comes, and read (realtime.md: Chat)."""

import asyncio
import random
from collections import Counter
from typing import Any, ClassVar
from uuid import uuid4

from chaos.flows.base import Flow
from tests.chats.steps import PATH, about
from tests.support.world import Person

_PAIRS = 12
_SAID_AT_ONCE = 4


class Chats(Flow):
    name: ClassVar = "chats"
    players: ClassVar = 4
    rules: ClassVar = {
        "the numbers of a conversation have a gap": """
            SELECT c.id FROM conversations c
            WHERE c.last_number <> (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id)""",
        "a message was told of more or less than once": """
            SELECT m.id FROM messages m LEFT JOIN (
                SELECT e.payload ->> 'message_id' AS message_id, count(*) AS times FROM events e
                WHERE e.name = 'chat.message_sent' GROUP BY 1
            ) told ON told.message_id = m.id::text
            WHERE told.times IS DISTINCT FROM 1""",
        "somebody's unread count is not what is unread": """
            SELECT p.conversation_id FROM conversation_participants p WHERE p.unread_count <> (
                SELECT count(*) FROM messages m WHERE m.conversation_id = p.conversation_id
                AND m.number > p.read_number AND m.sender_id <> p.user_id)""",
    }

    async def prepare(self) -> None:
        self._pairs: list[tuple[Person, Person, str]] = []
        for _ in range(_PAIRS):
            customer, request_id, (provider,) = await self.world.lead()
            opened = await provider.post(PATH, about(request_id))
            self._pairs.append((customer, provider, opened.json()["id"]))
        self.people = [person for customer, provider, _ in self._pairs for person in (customer, provider)]
        self._said: dict[str, Any] = {}

    async def play(self, rng: random.Random) -> None:
        customer, provider, conversation_id = rng.choice(self._pairs)
        path = f"{PATH}/{conversation_id}"
        speakers = rng.choices((customer, provider), k=_SAID_AT_ONCE)
        await asyncio.gather(*(self._say(person, f"{path}/messages") for person in speakers))
        reader = rng.choice((customer, provider))
        await self.clients.put(reader, f"{path}/read", {"number": rng.randint(1, 500)})

    async def _say(self, person: Person, path: str) -> None:
        """With an id of the client's own, so that saying it again says it once."""
        mark = str(uuid4())
        answer = await self.clients.post(person, path, json={"text": f"Hello {mark}", "client_message_id": mark})
        if answer is not None and answer.is_success:
            self._said[mark] = answer.json()["number"]

    async def broken_promises(self) -> list[str]:
        """Each message that was answered is there, once, under the number that the answer told."""
        there = [(str(row["client_message_id"]), row["number"]) for row in await self.world.rows("messages")]
        twice = [mark for mark, count in Counter(mark for mark, _ in there).items() if count > 1]
        missing = set(self._said.items()) - set(there)
        return [f"message {mark} is there twice" for mark in twice] + [f"message {each} is lost" for each in missing]
