"""Topics: what the parties of a subject see of each other while they look at it. Who is there, who types, where.

All of it is forgotten as it passes. It goes by Valkey from process to process, is written to no table, and waits for a
slow reader only in its newest version. Without Valkey a topic still works among the sockets of one process.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from pydantic_core import from_json, to_json
from redis.exceptions import RedisError

from app.core.channels import Channels
from app.core.errors import Problem
from app.core.tasks import end, for_ever
from app.kernel import subjects
from app.kernel.platform import Platform
from app.ws.hub import Connection
from app.ws.presence import Presence, channel
from app.ws.protocol import PartyPosition, PartyTyping, SendPosition, Unsubscribed
from app.ws.protocol import Presence as PresenceFrame

_log = structlog.get_logger()

_PASSING: Final = 200
"""Frames that may wait for one slow reader; each is the newest of its kind, topic and user."""
_TOGETHER: Final = 200
_BEATS: Final = 3
"""Presence is said again this often within its life, so that one lost beat ends nobody's."""
_JITTER: Final = 0.25
"""The part of a period by which a message may come early without being dropped; on average they keep the period."""

_PASSED: Final[dict[str, type[PartyTyping | PartyPosition]]] = {"typing": PartyTyping, "position": PartyPosition}

_Key = tuple[str, str, UUID | None]
"""Kind, topic and user of a frame that passes: a newer one takes the place of an older one."""


class Follower:
    """One socket as topics see it: what it follows, and what passes by and was not written to it yet."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.user_id = connection.user_id
        self.topics: dict[str, Topic] = {}
        self.told: dict[str, frozenset[UUID]] = {}
        self.has_left = False
        self._passing: dict[_Key, bytes] = {}

    def pass_on(self, key: _Key, frame: bytes) -> None:
        self._passing[key] = frame
        if len(self._passing) > _PASSING:
            del self._passing[next(iter(self._passing))]
        self.connection.wake()

    def take(self) -> bytes | None:
        """The frame that waits longest, which is then not waiting any more."""
        return self._passing.pop(next(iter(self._passing))) if self._passing else None

    def forget(self, topic: str) -> None:
        del self.topics[topic]
        self.told.pop(topic, None)
        self._passing = {key: frame for key, frame in self._passing.items() if key[1] != topic}


class Topic:
    """One topic that sockets of this process follow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind, self.subject_id = parsed(name)
        self.followers: set[Follower] = set()
        self.members: dict[UUID, subjects.Party] = {}
        self._due: dict[tuple[str, UUID], float] = {}

    @property
    def users(self) -> frozenset[UUID]:
        return frozenset(follower.user_id for follower in self.followers)

    def is_too_soon(self, kind: str, user_id: UUID, period_seconds: float) -> bool:
        """Whether the user sent one of this kind just now; if not, this one counts."""
        now = time.monotonic()
        due = max(self._due.get((kind, user_id), now), now)
        if due - now > period_seconds * _JITTER:
            return True
        self._due[kind, user_id] = due + period_seconds
        return False

    def sees(self, user_id: UUID, other_id: UUID) -> bool:
        """Whether the user is a party that may see this one; competitors for one customer do not see each other."""
        party, other = self.members.get(user_id), self.members.get(other_id)
        return party is not None and (party.meets_all or user_id == other_id or (other is not None and other.meets_all))

    def tell(self, frame: PartyTyping | PartyPosition, encoded: bytes) -> None:
        """Pass a frame on to the other parties here."""
        for follower in self.followers:
            # Whoever is found to take part no longer hears nothing more, also before the recheck sends them away.
            if follower.user_id != frame.user_id and self.sees(follower.user_id, frame.user_id):
                follower.pass_on((frame.type, self.name, frame.user_id), encoded)


def parsed(topic: str) -> tuple[str, UUID]:
    kind, _, subject_id = topic.partition(":")
    return kind, UUID(subject_id)


class Topics:
    """All topics that are followed in this process."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._presence = Presence(platform.valkey, platform.settings)
        self._channels = Channels(platform.settings.redis_url, self._heard)
        self._followed: dict[str, Topic] = {}
        self._stirred: dict[str, None] = {}
        self._some_stirred = asyncio.Event()
        self._leaving: dict[_Key, bytes] = {}
        self._some_leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def count(self) -> int:
        return len(self._followed)

    async def start(self) -> None:
        loops = (self._channels.listen, self._keep_present, self._beat, self._keep_publishing, self._keep_rechecking)
        self._tasks = [asyncio.create_task(for_ever(loop)) for loop in loops]

    async def stop(self) -> None:
        """Say at once who left with the last sockets: others would find out only when presence expires."""
        await end(*self._tasks)
        names = list(self._followed)
        for start in range(0, len(names), _TOGETHER):
            await self._look(names[start : start + _TOGETHER])

    async def subscribe(self, follower: Follower, name: str) -> str | None:
        """Have a socket follow a topic; a code if it may not. What is not there and what is not theirs look alike."""
        if name in follower.topics:
            return None
        if len(follower.topics) >= self._platform.settings.topics_per_socket:
            return "topic_limit"
        kind, subject_id = parsed(name)
        async with self._platform.database.read() as session:
            found = (await subjects.parties_of(session, kind, [subject_id]))[subject_id]
        members = {party.user_id: party for party in found}
        if follower.user_id not in members:
            return "topic_unknown"
        positions = await self._positions(name, members)
        if follower.has_left:
            return None
        # Nothing is awaited from here on: whatever passes next reaches the follower.
        topic = self._followed.get(name)
        if topic is None:
            topic = self._followed[name] = Topic(name)
            self._channels.want(channel(name))
        topic.members = members
        topic.followers.add(follower)
        follower.topics[name] = topic
        for user_id, position in positions.items():
            if user_id != follower.user_id and topic.sees(follower.user_id, user_id):
                follower.pass_on(("position", name, user_id), position)
        self._stir(name)
        return None

    def unsubscribe(self, follower: Follower, name: str) -> str | None:
        if name not in follower.topics:
            return "topic_not_followed"
        self._part(follower, name)
        return None

    def leave(self, follower: Follower) -> None:
        """The socket is closed; a subscription that is under way comes to nothing."""
        follower.has_left = True
        for name in list(follower.topics):
            self._part(follower, name)

    def typing(self, follower: Follower, name: str) -> str | None:
        """Tell the others that the user is typing; a code if the topic is not followed."""
        topic = follower.topics.get(name)
        if topic is None:
            return "topic_not_followed"
        self._say(topic, PartyTyping(topic=name, user_id=follower.user_id))
        return None

    def position(self, follower: Follower, sent: SendPosition) -> str | None:
        """Tell the others where the user is; a code if the topic is not followed or wants no position of theirs."""
        topic = follower.topics.get(sent.topic)
        if topic is None:
            return "topic_not_followed"
        party = topic.members.get(follower.user_id)
        if party is None or not party.is_located:
            return "position_refused"
        place = sent.model_dump(exclude={"op"})
        self._say(topic, PartyPosition(user_id=follower.user_id, timestamp=datetime.now(UTC), **place))
        return None

    def _say(self, topic: Topic, frame: PartyTyping | PartyPosition) -> None:
        if topic.is_too_soon(frame.type, frame.user_id, self._platform.settings.topic_message_seconds):
            return
        encoded = to_json(frame.wire())
        topic.tell(frame, encoded)
        self._leaving[frame.type, topic.name, frame.user_id] = encoded
        self._some_leaving.set()

    async def _positions(self, name: str, members: dict[UUID, subjects.Party]) -> dict[UUID, bytes]:
        try:
            return await self._presence.positions(
                name, [party.user_id for party in members.values() if party.is_located]
            )
        except (RedisError, OSError):
            return {}  # the next one comes within a second

    def _part(self, follower: Follower, name: str) -> None:
        follower.topics[name].followers.discard(follower)
        follower.forget(name)
        self._stir(name)

    def _stir(self, name: str) -> None:
        """Who is present on the topic may have changed."""
        self._stirred[name] = None
        self._some_stirred.set()

    def _heard(self, heard_on: str, message: bytes | None) -> None:
        name = heard_on.partition(":")[2]
        topic = self._followed.get(name)
        if topic is None:
            return
        if message is None:
            return self._stir(name)
        process, encoded = message[:16], message[16:]
        if process == self._presence.process:
            return
        if not encoded:
            return self._stir(name)
        content = from_json(encoded)
        kind = _PASSED.get(content["type"])
        if kind is not None:  # else it is of a newer process, while old and new ones run side by side
            topic.tell(kind.model_validate(content), encoded)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._platform.settings.presence_seconds / _BEATS)
            self._stirred.update(dict.fromkeys(self._followed))
            self._some_stirred.set()

    async def _keep_present(self) -> None:
        while True:
            await self._some_stirred.wait()
            self._some_stirred.clear()
            stirred, self._stirred = list(self._stirred), {}
            for start in range(0, len(stirred), _TOGETHER):
                await self._look([name for name in stirred[start : start + _TOGETHER] if name in self._followed])

    async def _look(self, names: list[str]) -> None:
        """Say who follows these topics here, and tell the followers who does anywhere, if that is news to them."""
        here = {name: self._followed[name].users for name in names}
        try:
            online = dict(zip(here, await self._presence.say(here), strict=True))
        except (RedisError, OSError) as error:
            _log.warning("presence_unsaid", topics=len(here), error=type(error).__name__)
            online = dict(here)
        for name in names:
            topic = self._followed[name]
            present = online[name] & topic.members.keys()
            self._tell_presence(topic, frozenset(present))
            if not topic.followers and name not in self._stirred:
                del self._followed[name]
                self._channels.drop(channel(name))

    def _tell_presence(self, topic: Topic, present: frozenset[UUID]) -> None:
        for follower in topic.followers:
            seen = frozenset(user_id for user_id in present if topic.sees(follower.user_id, user_id))
            if follower.told.get(topic.name) != seen:
                follower.told[topic.name] = seen
                frame = PresenceFrame(topic=topic.name, online=sorted(seen))
                follower.pass_on(("presence", topic.name, None), to_json(frame.wire()))

    async def _keep_publishing(self) -> None:
        while True:
            await self._some_leaving.wait()
            self._some_leaving.clear()
            leaving, self._leaving = self._leaving, {}
            messages = [(topic, encoded) for (_, topic, _), encoded in leaving.items()]
            kept = {
                (topic, user_id): encoded
                for (kind, topic, user_id), encoded in leaving.items()
                if kind == "position" and user_id is not None
            }
            try:
                await self._presence.pass_on(messages, kept)
            except (RedisError, OSError) as error:
                _log.warning("topics_unheard", messages=len(messages), error=type(error).__name__)

    async def _keep_rechecking(self) -> None:
        while True:
            await asyncio.sleep(self._platform.settings.topic_recheck_seconds)
            by_kind: defaultdict[str, list[Topic]] = defaultdict(list)
            for topic in self._followed.values():
                by_kind[topic.kind].append(topic)
            for kind, topics in by_kind.items():
                for start in range(0, len(topics), _TOGETHER):
                    await self._recheck(kind, topics[start : start + _TOGETHER])

    async def _recheck(self, kind: str, topics: Iterable[Topic]) -> None:
        """Who takes part now? Whoever does not any more is told so and follows no longer."""
        by_id = {topic.subject_id: topic for topic in topics}
        known = {topic.subject_id: topic.members for topic in by_id.values()}
        try:
            async with self._platform.database.read() as session:
                found = await subjects.parties_of(session, kind, by_id.keys())
        except Problem as problem:
            _log.warning("topics_unchecked", topics=len(by_id), code=problem.code)
            return
        for subject_id, topic in by_id.items():
            if topic.members is not known[subject_id]:
                continue  # somebody subscribed meanwhile, which looked later than this did
            members = {party.user_id: party for party in found[subject_id]}
            if members.keys() != topic.members.keys():
                self._stir(topic.name)
            topic.members = members
            for follower in [follower for follower in topic.followers if follower.user_id not in members]:
                self._part(follower, topic.name)
                follower.connection.push(Unsubscribed(topic=topic.name, reason="left").wire())
