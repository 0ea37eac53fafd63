"""PDFs: rendered once, when they are first asked for, and asked for once, whoever asks and whatever dies."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.adapters import documents
from app.core.actor import Actor
from app.core.config import Settings
from app.core.connections import connect
from app.core.database import Statement
from app.jobs import relay
from app.kernel.platform import Platform, open_platform
from app.models.users import Role
from app.services.invoices import pdf_requests, rendering
from tests.invoices.steps import INVOICES, issue, queued, read_pdf, read_pdf_when_there, renderings, sale, seller, until
from tests.support.relayed import relay_everything
from tests.support.world import World

CONTENDERS = 60
_LOGGED = Statement(text("SELECT count(*) FROM pgqueuer_log"))


@pytest.fixture
async def crowd(configured: Settings) -> AsyncIterator[Platform]:
    """As many connections as contenders: all of them are in a transaction at once."""
    async with open_platform(configured.model_copy(update={"database_pool_size": CONTENDERS})) as opened:
        yield opened


@pytest.fixture
async def relayed(platform: Platform, world: World) -> None:
    """What other tests left to do is not done."""
    await relay.skip(platform)
    await world.execute("DELETE FROM pgqueuer")


async def test_nothing_is_rendered_or_queued_before_anybody_asks(
    world: World, platform: Platform, relayed: None
) -> None:
    # Given a document whose issue is relayed
    buyer = await world.person()
    await relay.skip(platform)
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    async with world.unchanged():
        assert await relay_everything(platform) == 1
        # When its JSON is read, alone and in the list
        answer = await buyer.get(f"{INVOICES}/{invoice.id}")
        listed = await buyer.get(INVOICES)
    # Then there is no PDF, and none is on its way
    assert (answer.json()["rendered_at"], listed.json()["items"]) == (None, [answer.json()])
    assert await queued(world) == []


async def test_the_first_who_asks_has_it_rendered_and_the_answer_says_when_to_ask_again(
    world: World, relayed: None
) -> None:
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    answer = await buyer.get(f"{INVOICES}/{invoice.id}/pdf")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_rendered_yet")
    assert answer.headers["retry-after"] == "1"
    assert await queued(world) == await renderings(world, invoice.id)
    assert len(await renderings(world, invoice.id)) == 1


async def test_of_many_who_ask_at_once_one_queues_it(world: World, crowd: Platform) -> None:
    invoice = await issue(world.platform.database, seller(), sale(await world.person()))
    asking = [pdf_requests.link(crowd, Actor(invoice.buyer_id), invoice.id) for _ in range(CONTENDERS)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(answer) for answer in answers} == {pdf_requests.NotRenderedYet}
    assert len(await renderings(world, invoice.id)) == 1


async def test_many_who_ask_at_once_over_http_are_all_told_to_ask_again(world: World) -> None:
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    answers = await asyncio.gather(*(buyer.get(f"{INVOICES}/{invoice.id}/pdf") for _ in range(CONTENDERS)))
    assert {answer.json()["code"] for answer in answers} == {"not_rendered_yet"}
    assert len(await renderings(world, invoice.id)) == 1


@pytest.mark.parametrize(
    "state",
    ["status = 'queued'", "status = 'picked'", "attempts = 3, execute_after = now() + interval '1 hour'"],
    ids=["waits", "runs", "waits for its next try"],
)
async def test_asking_again_stores_nothing_and_wakes_no_worker(
    world: World, configured: Settings, relayed: None, state: str
) -> None:
    # Given a rendering that was asked for
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    await buyer.get(f"{INVOICES}/{invoice.id}/pdf")
    await world.execute(f"UPDATE pgqueuer SET {state}")
    jobs, logged = await queued(world), await logged_in(world)
    listening, woken = await connect(configured), asyncio.Queue[str]()
    try:
        await listening.add_listener("ch_pgqueuer", lambda *heard: woken.put_nowait(heard[-1]))
        # When
        async with world.unchanged():
            for _ in range(3):
                assert (await buyer.get(f"{INVOICES}/{invoice.id}/pdf")).json()["code"] == "not_rendered_yet"
        # Then what the queue's channel says next is the test's own word: it keeps the order of commits
        await world.execute("SELECT pg_notify('ch_pgqueuer', 'the end')")
        assert await asyncio.wait_for(woken.get(), 5) == "the end"
    finally:
        await listening.close()
    assert (await queued(world), await logged_in(world)) == (jobs, logged)


async def logged_in(world: World) -> int:
    """How much the queue's log holds."""
    async with world.platform.database.read() as session:
        return int(await session.scalar(_LOGGED))


@pytest.mark.parametrize("role", [None, Role.PROVIDER, Role.MANAGER])
async def test_a_strangers_asking_leaves_nothing_behind(world: World, relayed: None, role: Role | None) -> None:
    invoice = await issue(world.platform.database, seller(), sale(await world.person()))
    stranger = await world.person(*([role] if role else []))
    await relay.skip(world.platform)
    logged = await logged_in(world)
    async with world.unchanged():
        assert (await stranger.get(f"{INVOICES}/{invoice.id}/pdf")).status_code == 404
        assert (await stranger.get(f"{INVOICES}/{uuid4()}/pdf")).status_code == 404
        assert (await world.http.get(f"{INVOICES}/{invoice.id}/pdf")).status_code == 401
    assert (await queued(world), await logged_in(world)) == ([], logged)


async def test_what_is_rendered_is_linked_without_another_job(world: World, relayed: None) -> None:
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    await rendering.render(world.platform, invoice.id)
    logged = await logged_in(world)
    async with world.unchanged():
        assert (await read_pdf(world, buyer, str(invoice.id))).content[:5] == b"%PDF-"
    assert (await queued(world), await logged_in(world)) == ([], logged)


async def test_an_asking_whose_server_died_has_queued_nothing_and_the_next_one_queues_it(world: World) -> None:
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    with (
        patch("app.core.database.Session.commit", side_effect=asyncio.CancelledError),
        pytest.raises(asyncio.CancelledError),
    ):
        await pdf_requests.link(world.platform, Actor(buyer.id), invoice.id)
    assert await renderings(world, invoice.id) == []
    await buyer.get(f"{INVOICES}/{invoice.id}/pdf")
    assert len(await renderings(world, invoice.id)) == 1


async def test_a_job_that_was_lost_is_queued_by_who_asks_next(world: World, working: None) -> None:
    # Given a queue that was restored without it, and a worker
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    with patch.object(documents, "render", side_effect=ZeroDivisionError):
        await buyer.get(f"{INVOICES}/{invoice.id}/pdf")
        await until(lambda: tried(world, invoice.id))
        await world.execute("DELETE FROM pgqueuer WHERE entrypoint = 'render_invoice'")
    # When it is asked for again, then it is rendered
    assert (await read_pdf_when_there(world, buyer, str(invoice.id))).content[:5] == b"%PDF-"


async def tried(world: World, invoice_id: UUID) -> bool:
    """Whether a rendering has failed and waits for its next try."""
    return any(job["status"] == "queued" and job["attempts"] for job in await renderings(world, invoice_id))


async def test_a_rendering_that_was_held_is_queued_anew_by_who_asks_next(world: World, working: None) -> None:
    # Given a document that could not be rendered, until its last try had failed and the job was held
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    with patch.object(documents, "render", side_effect=ZeroDivisionError):
        await buyer.get(f"{INVOICES}/{invoice.id}/pdf")
        await until(lambda: tried(world, invoice.id))
        await world.execute(
            "UPDATE pgqueuer SET attempts = 30, execute_after = now() WHERE entrypoint = 'render_invoice'"
        )
        await until(lambda: held(world, invoice.id))
    # When the cause is mended and somebody asks, then it is rendered, and the held job stays for whoever looks into it
    assert (await read_pdf_when_there(world, buyer, str(invoice.id))).content[:5] == b"%PDF-"
    await until(lambda: held(world, invoice.id))


async def held(world: World, invoice_id: UUID) -> bool:
    """Whether all that is left of the renderings is one that was held."""
    return [job["status"] for job in await renderings(world, invoice_id)] == ["failed"]


async def test_codes_do_not_queue_up_behind_documents_nor_who_asked_for_one_behind_what_nobody_waits_for(
    world: World, platform: Platform, relayed: None
) -> None:
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    assert (await buyer.get(f"{INVOICES}/{invoice.id}/pdf")).status_code == 409
    await world.admin.post(f"/api/v1/admin/users/{buyer.id}/top-ups", {"amount_minor": 1, "reason": "cash"})
    await world.http.post(
        "/api/v1/auth/register",
        json={
            "name": "Some Body", "email": f"{uuid4().hex}@mail.localbazaar.in",
            "phone": f"+9197{uuid4().int % 10**8:08d}", "password": "correct horse battery 7",
        },
    )  # fmt: skip
    await relay_everything(platform)
    priority = {row["entrypoint"]: row["priority"] for row in await queued(world)}
    assert priority["send_code"] > priority["render_invoice"] > priority["issue_invoice"]


async def test_a_pdf_is_made_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    invoice = await issue(world.platform.database, seller(), sale(await world.person()))
    await rendering.render(world.platform, invoice.id)
    (row,) = await world.rows("invoices", id=invoice.id)
    # When the job runs again, with a renderer that would write something else
    monkeypatch.setattr(documents, "render", lambda *_: b"another one")
    async with world.unchanged():
        await rendering.render(world.platform, invoice.id)
    # Then everything is as it was, the object too
    assert await world.rows("invoices", id=invoice.id) == [row]
    (kept,) = await world.rows("files", id=invoice.id)
    content = b"".join([piece async for piece in await world.platform.storage.open(str(invoice.id))])
    assert (len(content), content[:5]) == (kept["size_bytes"], b"%PDF-")
    assert (kept["owner_id"], kept["purpose"], kept["subject_id"]) == (invoice.buyer_id, "invoice", invoice.id)


async def test_two_that_render_at_once_make_one_file(world: World) -> None:
    invoice = await issue(world.platform.database, seller(), sale(await world.person()))
    before = await world.snapshot()
    await asyncio.gather(*(rendering.render(world.platform, invoice.id) for _ in range(4)))
    after = await world.snapshot()
    assert {name for name in before if before[name] != after[name]} == {"files", "objects"}
    assert (after["files"], after["objects"]) == (before["files"] + 1, before["objects"] + 1)


@pytest.mark.parametrize(
    "dies_at", ["app.adapters.storage.Storage.put", "app.core.database.SingleStatementSession.execute"]
)
async def test_whatever_dies_while_rendering_the_next_try_finishes(
    world: World, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))

    async def killed(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(dies_at, killed)
        with pytest.raises(asyncio.CancelledError):
            await rendering.render(world.platform, invoice.id)
    assert (await buyer.get(f"{INVOICES}/{invoice.id}/pdf")).json()["code"] == "not_rendered_yet"
    await rendering.render(world.platform, invoice.id)
    assert (await read_pdf(world, buyer, str(invoice.id))).content[:5] == b"%PDF-"


async def test_the_loop_goes_on_while_a_document_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a document that takes as long as it is let
    buyer = await world.person()
    invoice = await issue(world.platform.database, seller(), sale(buyer))
    begun, go_on = threading.Event(), threading.Event()
    render = documents.render

    def slow(*about: Any) -> bytes:
        begun.set()
        assert go_on.wait(30)
        return render(*about)

    monkeypatch.setattr(documents, "render", slow)
    task = asyncio.create_task(rendering.render(world.platform, invoice.id))
    # When somebody asks meanwhile, then they are answered
    await until(lambda: asyncio.sleep(0, begun.is_set()))
    assert (await buyer.get(f"{INVOICES}/{invoice.id}/pdf")).json()["code"] == "not_rendered_yet"
    go_on.set()
    await task
    assert (await buyer.get(f"{INVOICES}/{invoice.id}/pdf")).status_code == 200
