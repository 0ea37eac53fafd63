"""Messages to people outside, by mail and text: gateways in production, a console in development."""

import json
import sys
from functools import cached_property
from importlib import import_module
from typing import Final, Protocol

from redis.asyncio import Redis

from app.core.config import MailSender, Settings, TextSender

_KEPT_SECONDS: Final = 600
_KEPT_MESSAGES: Final = 20


class Sender(Protocol):
    """Sends one message, or raises; the job queue tries again."""

    async def send(self, to: str, subject: str, body: str) -> None: ...


class Console:
    """Prints the message and keeps it in Valkey for ten minutes, so that the demo and the tests can read the codes."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def send(self, to: str, subject: str, body: str) -> None:
        print(f"message to {to}: {subject}: {body}", file=sys.stderr, flush=True)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.lpush(_kept(to), json.dumps({"to": to, "subject": subject, "body": body}))
            pipe.ltrim(_kept(to), 0, _KEPT_MESSAGES - 1)
            pipe.expire(_kept(to), _KEPT_SECONDS)
            await pipe.execute()


async def sent_messages(client: Redis, to: str) -> list[dict[str, str]]:
    """What the console senders sent to this address lately, newest first."""
    return [json.loads(message) for message in await client.lrange(_kept(to), 0, _KEPT_MESSAGES - 1)]


def _kept(to: str) -> str:
    return f"sent:{to}"


class Messengers:
    """The two ways out, as configured; loaded when something is first sent, which a server never does."""

    def __init__(self, settings: Settings, client: Redis) -> None:
        self._settings, self._console = settings, Console(client)

    @cached_property
    def mail(self) -> Sender:
        return self._console if self._settings.mail_sender is MailSender.CONSOLE else self._gateway("SmtpMail")

    @cached_property
    def text(self) -> Sender:
        return self._console if self._settings.text_sender is TextSender.CONSOLE else self._gateway("HttpText")

    def _gateway(self, name: str) -> Sender:
        sender: Sender = getattr(import_module("app.adapters.message_gateways"), name)(self._settings)
        return sender
