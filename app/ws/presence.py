"""What Valkey knows of topics: who follows them, on whichever process, and where somebody was a moment ago.

One key for each topic's followers, one for each position: no command touches two. A process says again and again who
follows here; of one that was killed, all entries expire by themselves.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from app.core.config import Settings
from app.core.valkey import Valkey

# Entries are the number of a process and the id of a user, 16 bytes each, by the time at which they expire. Valkey's
# clock counts, because those of several machines differ.
_SAY: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local changed = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local here = {}
for index = 4, #ARGV do
  local entry = ARGV[2] .. ARGV[index]
  here[entry] = true
  changed = changed + redis.call('ZADD', KEYS[1], now + ARGV[3], entry)
end
local online = {}
for _, entry in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(entry, 1, 16) == ARGV[2] and not here[entry] then
    redis.call('ZREM', KEYS[1], entry)
    changed = changed + 1
  else
    table.insert(online, string.sub(entry, 17))
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if changed > 0 then
  redis.call('PUBLISH', ARGV[1], ARGV[2])
end
return online
"""


def channel(topic: str) -> str:
    """Where what passes on a topic is told to the processes that follow it."""
    return f"topic:{topic}"


class Presence:
    """This process's part in what is shared of topics. Every method raises what the client raises without Valkey."""

    def __init__(self, valkey: Valkey, settings: Settings) -> None:
        self._client = valkey.client
        self._presence_milliseconds = int(settings.presence_seconds * 1000)
        self._position_milliseconds = int(settings.position_seconds * 1000)
        self.process = uuid4().bytes

    async def say(self, here: Mapping[str, Collection[UUID]]) -> list[frozenset[UUID]]:
        """Who follows each of these topics in this process, all of them; answers who follows it anywhere.

        If that changed anything, the other processes are told to look, by a message that is the number of this one.
        """
        pipeline: Any = self._client.pipeline(transaction=False)
        for topic, users in here.items():
            said = (channel(topic), self.process, self._presence_milliseconds, *(user.bytes for user in users))
            pipeline.eval(_SAY, 1, f"presence:{topic}", *said)
        return [frozenset(UUID(bytes=user) for user in online) for online in await pipeline.execute()]

    async def pass_on(self, messages: Iterable[tuple[str, bytes]], positions: Mapping[tuple[str, UUID], bytes]) -> None:
        """Tell messages on their topics to the other processes, and keep positions for whoever comes later."""
        pipeline: Any = self._client.pipeline(transaction=False)
        for (topic, user_id), position in positions.items():
            pipeline.set(_position(topic, user_id), position, px=self._position_milliseconds)
        for topic, message in messages:
            pipeline.publish(channel(topic), self.process + message)
        await pipeline.execute()

    async def positions(self, topic: str, users: Iterable[UUID]) -> dict[UUID, bytes]:
        """The newest positions of those of these users who sent one lately."""
        wanted = list(users)
        if not wanted:
            return {}
        pipeline: Any = self._client.pipeline(transaction=False)
        for user_id in wanted:
            pipeline.get(_position(topic, user_id))
        found: list[bytes | None] = await pipeline.execute()
        return {user_id: position for user_id, position in zip(wanted, found, strict=True) if position is not None}


def _position(topic: str, user_id: UUID) -> str:
    return f"position:{topic}:{user_id}"
