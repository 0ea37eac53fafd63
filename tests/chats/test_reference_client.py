"""A client that starts from what it read once and then follows events only: it always shows what it would read anew.

What the user does on this device, the client knows from the answers; what others do, from events (docs/chat.md).
"""

import os
import random
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from app.core.database import Statement
from app.kernel.events import envelope
from app.models.events import events, notifications
from tests.chats.steps import PATH, Chat, bought, listed, rejected, succeeded
from tests.support.world import Person, World

HISTORIES = int(os.environ.get("LOCALBAZAAR_CHAT_HISTORIES", "3"))
STEPS = int(os.environ.get("LOCALBAZAAR_CHAT_STEPS", "25"))
COUNTED = 1000

_HEARD = Statement(
    select(events.c.id, events.c.name, events.c.payload, events.c.created_at, events.c.seq)
    .join(notifications, notifications.c.event_id == events.c.id)
    .where(notifications.c.user_id == bindparam("user_id"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
)


class Client:
    """The list of conversations and the open ones of one person."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.conversations: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[int, dict[str, Any]]] = {}
        self.after = 0

    async def start(self) -> None:
        """Read everything, once."""
        self.conversations = {item["id"]: item for item in await listed(self.person)}
        for key in self.conversations:
            page = await succeeded(await self.person.get(f"{PATH}/{key}/messages?limit=100"))
            self.messages[key] = {item["number"]: item for item in page["items"]}

    async def catch_up(self, world: World) -> None:
        """Take in the events that came since the last time."""
        async with world.platform.database.read() as session:
            for row in await session.all(_HEARD, user_id=self.person.id, after=self.after):
                self.after = row["seq"]
                if row["name"].startswith("chat."):
                    self.hear(envelope(row, "en"))

    def hear(self, event: dict[str, Any]) -> None:
        key = event["conversation_id"]
        match event["name"]:
            case "chat.message_sent":
                self._open(event)
                self._take_in(
                    {
                        "id": event["message_id"],
                        "created_at": event["timestamp"],
                        "original_text": None,
                        "deleted": False,
                        **{name: event[name] for name in _SAID},
                    }
                )
                conversation = self.conversations[key]
                from_others = event["sender_id"] != str(self.person.id)
                conversation["unread_count"] = min(COUNTED, conversation["unread_count"] + from_others)
            case "chat.read" if key in self.conversations:
                self._moved(key, event["user_id"], event["read_number"])
                if event["user_id"] == str(self.person.id):
                    self.conversations[key]["unread_count"] = event["unread_count"]
            case "chat.message_deleted" if key in self.conversations:
                self.deleted(key, event["number"])
            case "chat.participant_joined" if key in self.conversations:
                who = {"user_id": event["user_id"], "name": event["user_name"], "role": event["role"]}
                self._meet(key, [who | {"read_number": event["read_number"]}])
            case "chat.conversation_deleted":
                self.conversations.pop(key, None)
                self.messages.pop(key, None)

    def said(self, message: dict[str, Any]) -> None:
        """The answer to what this device has sent."""
        self._take_in(message)

    def read(self, key: str, answer: dict[str, Any]) -> None:
        """The answer to what this device has marked as read."""
        self.conversations[key]["unread_count"] = answer["unread_count"]
        self._moved(key, str(self.person.id), answer["read_number"])

    def deleted(self, key: str, number: int) -> None:
        gone: dict[str, Any] = {"text": None, "image_ids": [], "deleted": True}
        self.messages[key][number] |= gone
        if self.conversations[key]["last_message"]["number"] == number:
            self.conversations[key]["last_message"] |= gone

    def _open(self, event: dict[str, Any]) -> None:
        key = event["conversation_id"]
        if key not in self.conversations:
            about = {name: event[name] for name in ("subject_type", "subject_id", "counterpart_id")}
            fresh: dict[str, Any] = {"participants": [], "last_message": None, "unread_count": 0, "deleted_at": None}
            self.conversations[key] = {"id": key, "created_at": event["conversation_created_at"]} | about | fresh
        self.conversations[key]["contacts_open"] = event["contacts_open"]
        self._meet(key, event["participants"])

    def _meet(self, key: str, people: list[dict[str, Any]]) -> None:
        known = {one["user_id"]: one for one in self.conversations[key]["participants"]}
        self.conversations[key]["participants"] = [*(known | {one["user_id"]: one for one in people}).values()]

    def _moved(self, key: str, user_id: str, read_number: int) -> None:
        for one in self.conversations[key]["participants"]:
            if one["user_id"] == user_id:
                one["read_number"] = read_number

    def _take_in(self, message: dict[str, Any]) -> None:
        self.messages.setdefault(message["conversation_id"], {})[message["number"]] = message
        self.conversations[message["conversation_id"]]["last_message"] = message

    def shown(self) -> Any:
        """Everything that it shows, in a form that can be compared."""
        lists = sorted(self.conversations.values(), key=lambda item: (item["last_message"] or item)["id"], reverse=True)
        return [_plain(item) for item in lists], {
            key: [_plain(one) for _, one in sorted(self.messages[key].items())] for key in self.conversations
        }


_SAID = ("conversation_id", "number", "sender_id", "text", "image_ids", "masked")


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """Times differ in how they are written down (the database leaves out zeros at the end); participants are a set."""
    plain = {key: value for key, value in item.items() if value is not None}
    plain["created_at"] = datetime.fromisoformat(item["created_at"])
    if item.get("last_message") is not None:
        plain["last_message"] = _plain(item["last_message"])
    if "participants" in item:
        plain["participants"] = sorted(item["participants"], key=lambda one: str(one["user_id"]))
    return plain


async def test_events_alone_keep_a_client_at_what_it_would_read_anew(world: World) -> None:
    for seed in range(HISTORIES):
        await _history(world, random.Random(seed))


async def _history(world: World, chance: random.Random) -> None:
    # Given people who have begun to talk, and clients that have read everything once
    chats = [await bought(world) for _ in range(2)]
    await chats[0].say(chats[0].provider)
    clients = {person.id: Client(person) for chat in chats for person in (chat.customer, chat.provider)}
    for client in clients.values():
        await client.catch_up(world)
        client.conversations.clear()
        client.messages.clear()
        await client.start()
    # When anything happens
    for _ in range(STEPS):
        chat = chance.choice(chats)
        await _step(world, chance, chat, clients)
        for client in clients.values():
            await client.catch_up(world)
    # Then each shows what it would read anew
    for client in clients.values():
        anew = Client(client.person)
        await anew.start()
        assert client.shown() == anew.shown()


async def _step(world: World, chance: random.Random, chat: Chat, clients: dict[UUID, Client]) -> None:
    person = chance.choice((chat.customer, chat.provider))
    client = clients[person.id]
    known = client.messages.get(chat.id, {})
    own = [one for one in known.values() if one["sender_id"] == str(person.id) and not one["deleted"]]
    match chance.choices(("send", "read", "delete", "join", "reject"), (10, 6, 4, 1, 0.3))[0]:
        case "send" if chat.id in client.conversations:
            client.said(await chat.say(person, chance.choice(("Hello", "नमस्ते", "98765 43210"))))
        case "read" if known:
            client.read(chat.id, await chat.read(person, chance.randint(1, len(known))))
        case "delete" if own:
            message = chance.choice(own)
            await succeeded(await person.call("DELETE", f"/api/v1/messages/{message['id']}"))
            client.deleted(chat.id, message["number"])
        case "join" if known:
            await succeeded(await world.support.post(f"/api/v1/admin/conversations/{chat.id}/join"))
        case "reject" if known:
            await rejected(world, chat)
