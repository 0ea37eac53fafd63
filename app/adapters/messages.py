"""Messages to people outside, by mail and text: SMTP and an HTTP gateway in production, a console in development."""

import json
import sys
from email.message import EmailMessage
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx
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


class SmtpMail:
    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.smtp_url.get_secret_value())
        self._from = settings.mail_from
        self._options = {
            "hostname": url.hostname,
            "port": url.port,
            "username": unquote(url.username) if url.username else None,
            "password": unquote(url.password) if url.password else None,
            "use_tls": url.scheme == "smtps",
            "timeout": 20,
        }

    async def send(self, to: str, subject: str, body: str) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._from, to, subject
        message.set_content(body)
        await aiosmtplib.send(message, **self._options)  # type: ignore[arg-type]  # one dict, many types


class HttpText:
    """Posts `{"to", "message"}` with a bearer token: the shape that most gateways accept or can be told to."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.text_gateway_url.get_secret_value()
        self._token = settings.text_gateway_token.get_secret_value()

    async def send(self, to: str, subject: str, body: str) -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.post(
                self._url, json={"to": to, "message": body}, headers={"Authorization": f"Bearer {self._token}"}
            )
            answer.raise_for_status()


class Messengers:
    """The two ways out, as configured."""

    def __init__(self, settings: Settings, client: Redis) -> None:
        self.mail: Sender = Console(client) if settings.mail_sender is MailSender.CONSOLE else SmtpMail(settings)
        self.text: Sender = Console(client) if settings.text_sender is TextSender.CONSOLE else HttpText(settings)
