"""Six-digit codes over mail and text message. They live in Valkey only, hashed (identity.md: Sign-up)."""

import hmac
import math
import secrets
from typing import Any, Final, Literal
from uuid import UUID

from app.core.errors import Problem
from app.kernel.platform import Platform

Channel = Literal["email", "phone"]
Purpose = Literal["verify", "reset", "change"]


class CodeRefused(Problem):
    status, code, title = 422, "code_refused", "The code is wrong or has expired."


# All codes or none: right ones are spent only together; each wrong one counts, and the fifth wrong try burns its code.
_SPEND: Final = """
local fits, values = true, {}
for index, key in ipairs(KEYS) do
  local hash = redis.call('HGET', key, 'hash')
  if not hash or hash ~= ARGV[index + 1] then
    fits = false
    if hash and redis.call('HINCRBY', key, 'tries', 1) >= tonumber(ARGV[1]) then redis.call('DEL', key) end
  end
end
if not fits then return nil end
for index, key in ipairs(KEYS) do
  values[index] = redis.call('HGET', key, 'value') or ''
  redis.call('DEL', key)
end
return values
"""


def _key(user_id: UUID, channel: Channel, purpose: Purpose) -> str:
    """`auth:otp:{userId}:email`; the braces keep one user's codes on one node of a cluster."""
    return f"auth:otp:{{{user_id}}}:{channel}" + ("" if purpose == "verify" else f":{purpose}")


def _hash(platform: Platform, key: str, code: str) -> str:
    """Keyed, because a bare hash of six digits is guessed back in a second."""
    return hmac.digest(platform.codes.derived("one-time-code")[0], f"{key}:{code}".encode(), "sha256").hex()


async def allow_sending(platform: Platform, whom: UUID | str, channel: Channel) -> None:
    """Count one wish for a code: one a minute and five an hour for each channel; `TooManyRequests` above.

    Asked before it is known whether there is such an account: only so does the refusal tell nothing about that.
    """
    settings = platform.settings
    allowance = f"1/{math.ceil(settings.code_resend_seconds)} seconds;{settings.code_resends_an_hour}/hour"
    await platform.limits.hit(allowance, "code", str(whom), channel)


async def remember_change(platform: Platform, user_id: UUID, channel: Channel, value: str) -> None:
    """Keep the new address that the next `change` code goes to; a code that is out already confirms its own one."""
    async with platform.valkey.commands() as client:
        await client.set(_wanted(user_id, channel), value, ex=int(platform.settings.code_seconds))


async def pending_change(platform: Platform, user_id: UUID, channel: Channel) -> str | None:
    async with platform.valkey.commands() as client:
        value: Any = await client.get(_wanted(user_id, channel))
        return value.decode() if value else None


def _wanted(user_id: UUID, channel: Channel) -> str:
    return _key(user_id, channel, "change") + ":wanted"


async def make(platform: Platform, user_id: UUID, channel: Channel, purpose: Purpose, to: str) -> str:
    """A fresh code for this address, which replaces the one before; only its hash is kept, for ten minutes.

    The address is kept with it, in one write: a code proves the address that it went to, whatever was asked for since.
    """
    code = f"{secrets.randbelow(1_000_000):06d}"
    key = _key(user_id, channel, purpose)
    async with platform.valkey.commands() as client, client.pipeline(transaction=True) as pipe:
        pipe.hset(key, mapping={"hash": _hash(platform, key, code), "tries": 0, "value": to})
        pipe.expire(key, int(platform.settings.code_seconds))
        await pipe.execute()
    return code


async def spend(platform: Platform, user_id: UUID, purpose: Purpose, codes: dict[Channel, str]) -> list[str]:
    """Spend all these codes, or raise `CodeRefused` and spend none. Answers the addresses that they were sent to."""
    keys = [_key(user_id, channel, purpose) for channel in codes]
    hashes = [_hash(platform, key, code) for key, code in zip(keys, codes.values(), strict=True)]
    async with platform.valkey.commands() as client:
        script = client.register_script(_SPEND)
        values: Any = await script(keys=keys, args=[platform.settings.code_wrong_tries, *hashes])
    if values is None:
        raise CodeRefused()
    return [value.decode() for value in values]
