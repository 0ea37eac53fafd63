"""The worker: mails what is to be mailed, lives through the database's absence, and cleans up."""

import ast
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.adapters.messages import sent_messages
from app.core.tasks import end
from app.jobs import queue, worker
from app.kernel import deadlines, files
from app.kernel.events import declared, emit
from app.kernel.platform import Platform
from app.services.notifications import delivery
from app.services.service_requests.events import SentBack
from app.services.users import messages
from app.ws.acknowledgements import Acknowledgements
from tests.support.world import Person, World
from tests.ws.sockets import tell

ROOT = Path(__file__).parents[2]
_WHAT_IT_KNOWS = """
import sys
import {module}
from app.kernel import deadlines, events
from app.services.payments.purposes import PURPOSES
print(sorted(deadlines._handlers), [event.name for event in events.declared()], sep="\\n")
print(sorted(PURPOSES), sorted({{"aiosmtplib", "fpdf", "httpcore", "httpx"}} & sys.modules.keys()), sep="\\n")
"""


@pytest.fixture
async def keeping(platform: Platform) -> AsyncIterator[None]:
    """A worker as the process runs it."""
    task = asyncio.create_task(worker.keep_working(platform))
    yield
    assert not task.done(), "the worker gave up"
    await end(task)


async def mail_to(platform: Platform, person: Person, containing: str, within_seconds: float = 10) -> dict[str, str]:
    """The mail with these words, once it was sent."""
    async with asyncio.timeout(within_seconds):
        while True:
            for message in await sent_messages(platform.valkey.client, person.email):
                if containing in message["body"]:
                    return message
            await asyncio.sleep(0.05)


async def suspend(world: World, person: Person, reason: str) -> None:
    answer = await world.admin.post(f"/api/v1/admin/users/{person.id}/suspend", {"reason": reason})
    assert answer.status_code == 200, answer.text


def known_to(module: str) -> list[str]:
    """The deadlines, events and purposes that a process knows which has loaded this module."""
    script = _WHAT_IT_KNOWS.format(module=module)
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_a_worker_knows_every_deadline_and_event_that_there_is() -> None:
    """It does not load the routes, so it has to load the nouns by itself."""
    found = known_to("app.jobs.worker")
    assert found[0] == str(sorted(key for key in deadlines._handlers if key[0] != "test"))
    assert found[1] == str([event.name for event in declared() if event.__module__.startswith("app.")])


def test_a_server_words_every_event_and_sells_all_there_is_and_writes_no_documents_and_calls_nobody() -> None:
    """It loads what its routes need; events come from everywhere."""
    server, worker = known_to("app.main"), known_to("app.jobs.worker")
    assert server[1:3] == worker[1:3]
    assert server[3] == "[]"
    assert {"fpdf", "httpx"} <= set(ast.literal_eval(worker[3]))


async def test_a_mailed_event_is_mailed_in_the_readers_language(
    platform: Platform, world: World, keeping: None
) -> None:
    english, hindi = await world.person(), await world.person(language="hi")
    await suspend(world, english, "too many complaints")
    await suspend(world, hindi, "शिकायतें")
    mail = await mail_to(platform, english, "too many complaints")
    assert mail == {
        "to": english.email,
        "subject": "News from LocalBazaar",
        "body": "Your account is suspended: too many complaints",
    }
    mail = await mail_to(platform, hindi, "शिकायतें")
    assert (mail["subject"], mail["body"]) == ("लोकलबाज़ार की सूचना", "आपका खाता निलंबित है: शिकायतें")


async def test_after_the_database_went_away_the_worker_goes_on(platform: Platform, world: World, keeping: None) -> None:
    # Given a worker that works
    person, other = await world.person(), await world.person()
    await suspend(world, person, "before")
    await mail_to(platform, person, "before")
    # When the database drops all connections, as it does when it restarts
    await world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    await asyncio.sleep(0.2)  # a server that has not noticed yet would answer 503
    # Then the next mail goes out, and soon: the queue looks by itself only every 30 seconds
    began = time.monotonic()
    await suspend(world, other, "after")
    await mail_to(platform, other, "after")
    print(f"the worker was back after {time.monotonic() - began:.1f} s")


async def test_a_worker_that_is_stopped_just_when_the_database_goes_away_stops(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker at work
    connected: asyncio.Queue[Any] = asyncio.Queue()
    build = queue.build

    def remembering(platform: Platform, connection: Any) -> Any:
        connected.put_nowait(connection)
        return build(platform, connection)

    monkeypatch.setattr(queue, "build", remembering)
    task = asyncio.create_task(worker.keep_working(platform))
    connection = await asyncio.wait_for(connected.get(), 5)
    await asyncio.sleep(0.2)
    # When both happen at once
    connection.terminate()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    # Then
    done, _ = await asyncio.wait({task}, timeout=5)
    task.cancel()
    assert done, "the worker was asked to stop and went on"
    assert task.cancelled()


async def test_a_failure_that_is_no_absence_of_the_database_ends_the_worker(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(queue, "build", broken)
    with pytest.raises(ZeroDivisionError):
        await worker.keep_working(platform)


async def test_events_older_than_the_retention_are_pruned_with_their_notifications(
    platform: Platform, world: World
) -> None:
    # Given two events of a user, one of which is too old
    person = await world.person()
    for words in ("old", "young"):
        async with platform.database.write() as session:
            event = SentBack(service_request_id=person.id, reason=words, status="IN_PROGRESS")
            await emit(session, event, subject_type="service_request", subject_id=person.id, to=[person.id])
    by_words: dict[str, Any] = {
        row["payload"]["reason"]: row["id"]
        for row in await world.rows("events", subject_id=person.id, name=SentBack.name)
    }
    age = timedelta(seconds=platform.settings.event_retention_seconds)
    for words, older in (("old", timedelta(minutes=1)), ("young", timedelta(minutes=-1))):
        for table, column in (("events", "id"), ("notifications", "event_id")):
            await world.execute(
                f"UPDATE {table} SET created_at = now() - cast(cast(:age AS text) AS interval) "
                f"WHERE {column} = cast(:id AS uuid)",
                age=f"{(age + older).total_seconds()} seconds",
                id=str(by_words[words]),
            )
    # When
    await queue.prune_history(platform)
    # Then
    assert await world.rows("events", id=by_words["old"]) == []
    assert await world.rows("notifications", event_id=by_words["old"]) == []
    assert len(await world.rows("events", id=by_words["young"])) == 1
    assert len(await world.rows("notifications", event_id=by_words["young"])) == 1


async def test_a_session_that_ended_long_ago_is_forgotten_with_what_it_acknowledged(
    platform: Platform, world: World
) -> None:
    # Given a session of somebody who was last here before the retention began, and who had acknowledged an event
    person = await world.person()
    await tell(platform.database, person)
    *_, told = await world.rows("notifications", user_id=person.id)
    [session] = await world.rows("sessions", user_id=person.id)
    event_id, session_id = told["event_id"], session["id"]
    acknowledgements = Acknowledgements(platform)
    acknowledgements.note(session_id, event_id)
    await acknowledgements.store()
    assert len(await world.rows("acknowledgements", session_id=session_id)) == 1
    await world.execute("DELETE FROM refresh_tokens WHERE session_id = cast(:id AS uuid)", id=str(session_id))
    await world.execute(
        "UPDATE sessions SET last_used_at = now() - interval '1 year' WHERE id = cast(:id AS uuid)", id=str(session_id)
    )
    # When
    await queue.prune_history(platform)
    # Then
    assert await world.rows("sessions", id=session_id) == []
    assert await world.rows("acknowledgements", session_id=session_id) == []


async def test_files_that_nobody_used_are_swept_and_others_stay(platform: Platform, world: World) -> None:
    # Given a file that was uploaded for nothing long ago, one that was just uploaded, and one that is a proof
    _, request_id, [provider] = await world.completed()
    [request] = await world.rows("service_requests", id=UUID(request_id))
    forgotten, fresh = await provider.upload(), await provider.upload()
    for file_id in (forgotten, request["proof_id"]):
        await world.execute(
            "UPDATE files SET created_at = now() - interval '2 hours' WHERE id = cast(:id AS uuid)", id=str(file_id)
        )
    # When
    assert await files.sweep(platform) >= 1
    # Then
    keys = set(await platform.storage.keys())
    assert forgotten not in keys
    assert await world.rows("files", id=UUID(forgotten)) == []
    assert {fresh, str(request["proof_id"])} <= keys


async def test_a_job_about_somebody_or_something_unknown_ends_without_a_message(platform: Platform) -> None:
    await delivery.mail_event(platform, uuid4(), uuid4())
    await messages.send_code(platform, uuid4(), "email", "verify")
