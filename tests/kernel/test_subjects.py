"""Who takes part in a subject (`kernel/subjects.py`)."""

import secrets
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Select, select

from app.core.actor import Actor
from app.kernel import ledger, subjects
from app.kernel.platform import Platform
from app.kernel.subjects import Party, Subject
from app.kernel.transitions import ACTOR, Columns, actor_has
from app.models.files import FilePurpose
from app.models.ledger import AccountKind
from app.models.users import Role, UserStatus, users
from tests.support.world import Person, World


async def test_the_parties_of_a_request_are_its_customer_and_who_bought_the_lead(
    world: World, platform: Platform
) -> None:
    customer, request_id, buyers = await world.lead(buyers=2)
    await world.lead(buyers=1)
    async with platform.database.read() as session:
        found = await subjects.parties(session, "service_request", UUID(request_id))
    assert found == {customer.id, *(buyer.id for buyer in buyers)}


async def test_nobody_takes_part_in_what_does_not_exist_or_declares_no_parties(
    world: World, platform: Platform
) -> None:
    _, request_id, buyers = await world.lead(buyers=1)
    async with platform.database.read() as session:
        assert await subjects.parties(session, "service_request", uuid4()) == frozenset()
        assert await subjects.parties(session, "provider", buyers[0].id) == frozenset()
        assert await subjects.parties(session, "nothing", UUID(request_id)) == frozenset()


class Talkative(NamedTuple):
    """People of one name, who are all parties of each other's accounts."""

    kind: str
    host: Person
    guest: Person


@pytest.fixture
async def talkative(world: World, monkeypatch: pytest.MonkeyPatch) -> Talkative:
    for registry in ("_readers", "_parties", "_held_after_the_end", "_talked_about"):
        monkeypatch.setattr(subjects, registry, dict(getattr(subjects, registry)))
    name = secrets.token_hex(6)
    return Talkative(f"test_{name}", await world.person(name=name), await world.person(name=name))


def namesakes(row: Columns) -> Select[Any]:
    return select(users.c.id).where(users.c.name == row.name)


async def test_a_party_is_located_in_some_statuses_and_the_host_alone_meets_all(
    world: World, talkative: Talkative
) -> None:
    kind, host, guest = talkative
    located = subjects.Located(lambda row: row.id, frozenset({UserStatus.ACTIVE, UserStatus.SUSPENDED}))
    conversation = subjects.Conversation(host=lambda row: row.id)
    subject = Subject(kind, users, {}, parties=namesakes, located=located, conversation=conversation)
    subjects.register(subject)
    assert subjects.talked_about()[kind] is subject
    nobody = uuid4()
    async with world.platform.database.read() as session:
        found = await subjects.parties_of(session, kind, [host.id, guest.id, nobody])
        assert dict(found) == {
            host.id: {Party(host.id, True, True), Party(guest.id, False, False)},
            guest.id: {Party(guest.id, True, True), Party(host.id, False, False)},
        }
        assert found[nobody] == frozenset()
        await world.execute("UPDATE users SET status = 'BANNED' WHERE id = :id", id=host.id)
        found = await subjects.parties_of(session, kind, [host.id])
    assert found[host.id] == {Party(host.id, False, True), Party(guest.id, False, False)}


@pytest.mark.parametrize("conversation", [None, subjects.Conversation()])
async def test_without_a_host_all_meet_and_unless_declared_nobody_is_located(
    world: World, talkative: Talkative, conversation: subjects.Conversation | None
) -> None:
    kind, one, other = talkative
    subjects.register(Subject(kind, users, {}, parties=namesakes, conversation=conversation))
    async with world.platform.database.read() as session:
        found = await subjects.parties_of(session, kind, [one.id])
    assert found == {one.id: {Party(one.id, False, True), Party(other.id, False, True)}}


async def test_parties_cannot_depend_on_who_asks(talkative: Talkative) -> None:
    asks = Subject(talkative.kind, users, {}, parties=lambda _: select(users.c.id).where(users.c.id == ACTOR))
    with pytest.raises(TypeError, match=rf"the parties of {talkative.kind} depend on \['actor_id'\]"):
        subjects.register(asks)


async def test_a_file_is_open_to_whom_its_purpose_says_and_closed_unless_declared(
    world: World, talkative: Talkative
) -> None:
    kind, owner, stranger = talkative
    readers: dict[FilePurpose, subjects.Reader] = {
        FilePurpose.EVIDENCE: users.c.id == ACTOR, FilePurpose.PROOF: lambda: actor_has(Role.ADMIN),
    }  # fmt: skip
    subjects.register(Subject(kind, users, readers))
    one, other, admin = Actor(owner.id), Actor(stranger.id), Actor(stranger.id, frozenset({Role.ADMIN}))

    async def may(actor: Actor, purpose: FilePurpose) -> bool:
        async with world.platform.database.read() as session:
            return await subjects.may_read(session, actor, kind, owner.id, purpose)

    assert [await may(who, FilePurpose.EVIDENCE) for who in (one, other, admin)] == [True, False, False]
    assert [await may(who, FilePurpose.PROOF) for who in (one, other, admin)] == [False, False, True]
    assert not await may(one, FilePurpose.PHOTO)


async def test_money_that_is_held_for_a_closed_subject_is_found(world: World, talkative: Talkative) -> None:
    # Given two of a kind, one of them closed, with money in both escrows and more in a wallet
    kind, closed, still_open = talkative
    subjects.register(Subject(kind, users, {}, closed=frozenset({UserStatus.SUSPENDED, UserStatus.BANNED})))
    clearing = ledger.platform(AccountKind.CLEARING, "INR")
    targets = [ledger.escrow(closed.id, "INR"), ledger.escrow(still_open.id, "INR"), ledger.wallet(closed.id, "INR")]
    async with world.platform.database.write() as session:
        for target in targets:
            await ledger.transfer(session, "test", clearing, target, 70)
    await world.execute("UPDATE users SET status = 'BANNED' WHERE id = :id", id=closed.id)
    # When the books are looked through, then the one is found, until it is empty
    find = subjects.held_after_the_end()[kind]
    async with world.platform.database.write() as session:
        assert [dict(row) for row in await session.all(find)] == [
            {"subject_id": closed.id, "status": "BANNED", "balance": 70, "currency": "INR"}
        ]
        line = f"{kind} {closed.id} is BANNED and holds 70 INR"
        assert [fault for fault in (await ledger.verify(session)).faults if kind in fault] == [line]
        for target in targets[:2]:
            await ledger.transfer(session, "test", target, clearing, 70)
        assert await session.all(find) == []
