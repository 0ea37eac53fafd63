"""Codes on their way out: a sender that fails is tried again, and no sign-up is lost for it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from app.core.config import MailSender, Settings, TextSender
from app.core.tasks import end
from app.jobs import worker
from app.kernel.platform import open_platform
from tests.users.steps import Applicant, eventually, log_in, sign_up


class Gateway:
    """A text message gateway that is out of order for a while."""

    def __init__(self) -> None:
        self.failures_left = 0
        self.refused = 0
        self.taken: list[tuple[dict[str, str], dict[str, str]]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {name.lower(): value for name, value in re.findall(r"^([^:\r\n]+): (.*?)\r$", head, re.MULTILINE)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        if self.failures_left:
            self.failures_left -= 1
            self.refused += 1
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            self.taken.append((headers, body))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    def code_for(self, phone: str) -> str | None:
        messages = [body["message"] for _, body in self.taken if body["to"] == phone]
        return re.findall(r"[0-9]{6}", messages[-1])[0] if messages else None


class MailServer:
    """A mail server that speaks as much SMTP as it takes, and refuses for a while."""

    def __init__(self) -> None:
        self.failures_left = 0
        self.refused = 0
        self.taken: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 mail.localbazaar.in")
        while line := (await reader.readline()).decode().strip():
            match line.split(" ")[0].upper():
                case "EHLO" | "HELO":
                    say("250 mail.localbazaar.in")
                case "MAIL" if self.failures_left:
                    self.failures_left -= 1
                    self.refused += 1
                    say("451 try again later")
                case "DATA":
                    say("354 go on")
                    self.taken.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    break
                case _:
                    say("250 fine")
        await writer.drain()
        writer.close()

    def code_for(self, email: str) -> str | None:
        messages = [mail for mail in self.taken if f"To: {email}" in mail]
        return re.findall(r"code is ([0-9]{6})", messages[-1])[0] if messages else None


@asynccontextmanager
async def listening(server: Gateway | MailServer) -> AsyncIterator[int]:
    """The port of the server."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def mail_server() -> MailServer:
    return MailServer()


@asynccontextmanager
async def working_with(configured: Settings, gateway: Gateway, mail_server: MailServer) -> AsyncIterator[None]:
    """A worker whose messages leave through real sockets."""
    async with listening(gateway) as text_port, listening(mail_server) as mail_port:
        changed = {
            "mail_sender": MailSender.SMTP,
            "smtp_url": SecretStr(f"smtp://127.0.0.1:{mail_port}"),
            "text_sender": TextSender.HTTP,
            "text_gateway_url": SecretStr(f"http://127.0.0.1:{text_port}/send"),
            "text_gateway_token": SecretStr("gateway-token"),
        }
        async with open_platform(configured.model_copy(update=changed)) as platform:
            task = asyncio.create_task(worker.work(platform))
            try:
                yield
            finally:
                await end(task)


@pytest.fixture
async def at_work(configured: Settings, gateway: Gateway, mail_server: MailServer) -> AsyncIterator[None]:
    async with working_with(configured, gateway, mail_server):
        yield


async def both_codes(applicant: Applicant, gateway: Gateway, mail_server: MailServer) -> dict[str, str]:
    async def arrived() -> dict[str, str] | None:
        email_code = mail_server.code_for(applicant.form["email"])
        phone_code = gateway.code_for(applicant.form["phone"])
        return {"email_code": email_code, "phone_code": phone_code} if email_code and phone_code else None

    return await eventually(arrived)


@pytest.mark.usefixtures("at_work")
async def test_codes_leave_by_mail_and_by_text_message(
    http: httpx.AsyncClient, gateway: Gateway, mail_server: MailServer
) -> None:
    # When somebody signs up
    applicant = await sign_up(http)
    codes = await both_codes(applicant, gateway, mail_server)
    # Then the gateway was called as its contract says, the mail is from us, and both codes fit
    headers, body = next(taken for taken in gateway.taken if taken[1]["to"] == applicant.form["phone"])
    assert headers["authorization"] == "Bearer gateway-token"
    assert codes["phone_code"] in body["message"]
    mail = next(mail for mail in mail_server.taken if f"To: {applicant.form['email']}" in mail)
    assert "From: LocalBazaar <no-reply@localbazaar.in>" in mail
    assert (await applicant.verify(codes)).status_code == 200


async def test_a_failing_sender_is_tried_again_and_loses_no_sign_up(
    http: httpx.AsyncClient, configured: Settings, gateway: Gateway, mail_server: MailServer
) -> None:
    # Given a sign-up while nobody sends anything, and then both senders out of order
    applicant = await sign_up(http)
    gateway.failures_left = mail_server.failures_left = 2
    async with working_with(configured, gateway, mail_server):
        # When they have been tried in vain, then the account still waits for its codes
        async def refused() -> bool:
            return bool(gateway.refused and mail_server.refused)

        await eventually(refused)
        assert (await log_in(http, applicant.form["email"])).json()["code"] == "verification_pending"
        # And when they work again, the codes arrive and activate it
        codes = await both_codes(applicant, gateway, mail_server)
    assert (gateway.refused, mail_server.refused) == (2, 2)
    assert (await applicant.verify(codes)).status_code == 200


@pytest.mark.usefixtures("at_work")
async def test_one_broken_sender_does_not_hold_up_the_other(
    http: httpx.AsyncClient, gateway: Gateway, mail_server: MailServer
) -> None:
    # Given a gateway that is out of order
    gateway.failures_left = 1000
    # When somebody signs up, then the mail arrives nevertheless
    applicant = await sign_up(http)

    async def mailed() -> str | None:
        return mail_server.code_for(applicant.form["email"])

    await eventually(mailed)
    assert gateway.code_for(applicant.form["phone"]) is None
    # And the text message follows once the gateway is mended
    gateway.failures_left = 0
    await both_codes(applicant, gateway, mail_server)
