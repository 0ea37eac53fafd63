"""Clients that do not give up, and the history of what they were told: an answer is a promise that is checked later."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import httpx

from tests.support.world import Person

_PATIENCE_SECONDS: Final = 90
_ANSWER_SECONDS: Final = 20
_IN_FLIGHT: Final = "request_in_flight"
_REPLAYED: Final = 0.1


class Outcome(StrEnum):
    DONE = "done"
    """Answered with 2xx: it happened, once."""
    REFUSED = "refused"
    """Answered with 4xx at the first attempt: it did not happen."""
    UNKNOWN = "unknown"
    """No answer, or a refusal after an attempt whose answer was lost: it happened at most as often as it was sent."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What an operation is in the audit trail: the subject's noun, the action, and of which subject if it exists."""

    subject_type: str
    action: str
    subject_id: UUID | None = None


@dataclass(slots=True)
class Operation:
    """One thing that somebody wanted, with the answer that counted in the end."""

    deed: Deed
    actor_id: UUID
    began: float
    keyed: bool
    """However often it was sent, it may happen once."""
    lost: int = 0
    """Attempts without an answer."""
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    body: Any = None

    @property
    def at_most(self) -> int:
        """How often it may have happened."""
        sent = self.lost + (self.outcome is Outcome.DONE)
        return min(1, sent) if self.keyed else sent

    @property
    def subject_id(self) -> UUID | None:
        """Of a creation that was answered: what was created."""
        if self.deed.subject_id is None and self.outcome is Outcome.DONE:
            return UUID(self.body["id"])
        return self.deed.subject_id


@dataclass
class History:
    """All operations of a run, and what was wrong with an answer by itself."""

    operations: list[Operation] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    attempts: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    replays: int = 0


class Clients:
    """Speaks HTTP to any of the servers, for anybody."""

    def __init__(self, addresses: Sequence[str], history: History, rng: random.Random) -> None:
        self._addresses, self.history, self._rng = addresses, history, rng
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=200)
        self._http = httpx.AsyncClient(timeout=_ANSWER_SECONDS, limits=limits)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, person: Person, path: str) -> Any:
        """Read, until it is answered; None for a refusal."""
        answer = await self.ask(person, path)
        return answer.json() if answer is not None and answer.is_success else None

    async def ask(self, person: Person, path: str) -> httpx.Response | None:
        """The answer, a refusal too; None where patience ended."""
        answer, _ = await self._insist(person, "GET", path)
        return answer

    async def post(self, person: Person | None, path: str, **options: Any) -> httpx.Response | None:
        """Something that is no deed of the audit trail; None where patience ended."""
        answer, _ = await self._insist(person, "POST", path, **options)
        return answer

    async def put(self, person: Person, path: str, json: Any) -> None:
        """Something that may be said any number of times."""
        await self._insist(person, "PUT", path, json=json)

    async def do(self, person: Person, deed: Deed, path: str, json: Any = None, *, keyed: bool = False) -> Operation:
        """A POST that counts. `keyed` ones carry an Idempotency-Key, and are now and then sent once more at the end."""
        operation = Operation(deed, person.id, time.time(), keyed)
        self.history.operations.append(operation)
        headers = {"Idempotency-Key": secrets.token_hex(12)} if keyed else {}
        answer, operation.lost = await self._insist(person, "POST", path, json=json, headers=headers)
        if answer is None:
            return operation
        operation.status, operation.body = answer.status_code, answer.json()
        if answer.is_success:
            operation.outcome = Outcome.DONE
        elif not operation.lost:
            operation.outcome = Outcome.REFUSED
        if keyed and answer.is_success and self._rng.random() < _REPLAYED:
            await self._replay(person, path, json, headers, answer)
        return operation

    async def _replay(
        self, person: Person, path: str, json: Any, headers: dict[str, str], first: httpx.Response
    ) -> None:
        again, _ = await self._insist(person, "POST", path, json=json, headers=headers)
        self.history.replays += 1
        if again is not None and (again.status_code, again.content) != (first.status_code, first.content):
            self.history.faults.append(f"{path}: a replay differs: {first.text} and {again.text}")

    async def _insist(
        self, person: Person | None, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> tuple[httpx.Response | None, int]:
        """Ask any server, and another if it does not answer, as long as patience lasts; and how many did not."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        sent = (person.headers if person else {}) | (headers or {})
        lost = 0
        while time.monotonic() < deadline:
            self.history.attempts += 1
            try:
                answer = await self._http.request(
                    method, self._rng.choice(self._addresses) + path, headers=sent, **options
                )
            except httpx.ConnectError:
                await asyncio.sleep(0.05)  # it never left
                continue
            except httpx.HTTPError as error:
                self._note_loss(type(error).__name__)
                lost += 1
            else:
                if answer.status_code < 500 and not _is_to_be_asked_again(answer):
                    return answer, lost
                if answer.status_code >= 500:
                    self._judge(method, path, answer)
                    lost += 1
            await asyncio.sleep(0.05 + 0.1 * self._rng.random())
        return None, lost

    def _note_loss(self, what: str) -> None:
        self.history.lost[what] += 1

    def _judge(self, method: str, path: str, answer: httpx.Response) -> None:
        """That something is away is said with 503; anything else above 499 is a defect, whatever burns."""
        self._note_loss(str(answer.status_code))
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            self.history.faults.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")


def _is_to_be_asked_again(answer: httpx.Response) -> bool:
    return answer.status_code == httpx.codes.TOO_MANY_REQUESTS or (
        answer.status_code == httpx.codes.CONFLICT and _IN_FLIGHT in answer.text
    )
