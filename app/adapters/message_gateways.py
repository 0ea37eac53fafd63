"""The senders of messages that production uses: SMTP, and a gateway for text messages over HTTP."""

from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx

from app.core.config import Settings


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
