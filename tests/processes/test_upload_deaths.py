"""No death of a process leaves an object without its row, nor, behind the next sweep, a row without its object.

An upload is killed at each statement, before and after it, and at each operation of the storage, before it, in its
middle and after it; then the sweep is killed at each of its own, and swept again. `make test` kills at one statement of
each; `LOCALBAZAAR_DEATHS=all` at all of them.
"""

import os
import random
import signal
import sys
from uuid import UUID

import pytest

from app.core.config import Settings
from app.kernel import files
from tests.processes.servers import played
from tests.support.postgres_proxy import Kill, When, proxy
from tests.support.world import Person, World

ALL = os.environ.get("LOCALBAZAAR_DEATHS") == "all"
STATEMENTS = 5  # of an upload: BEGIN, the owner's lock, what is used, the row, COMMIT
PUTS = 2
DELETES = 2

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel whose connection it is"),
    pytest.mark.timeout(1800 if ALL else 180),
]


async def run(database_url: str, what: str, person: Person, number: int = 0, when: str = "before") -> int:
    """The job as a process; how it ended."""
    return await played("tests.processes.upload_job", what, person.id, number, when, database_url=database_url)


def on_disk(settings: Settings, *file_ids: UUID) -> list[str]:
    """What lies in the storage's folder of these files, half written or whole."""
    folder = settings.data_folder.absolute() / "objects"
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(tuple(map(str, file_ids))))


async def everything_on_disk(settings: Settings) -> set[str]:
    return {path.name for path in (settings.data_folder.absolute() / "objects").iterdir()}


async def two_hours_pass(world: World, settings: Settings, person: Person) -> None:
    await world.execute(
        "UPDATE files SET created_at = now() - interval '2 hours' WHERE owner_id = cast(:id AS uuid)", id=str(person.id)
    )
    for path in (settings.data_folder.absolute() / "objects").glob("*#*"):
        os.utime(path, (0, 0))


async def nothing_is_left(world: World, settings: Settings, person: Person, before: set[str]) -> None:
    """What is there of an upload that died is a row at least, which nobody can open; and after the sweep, nothing."""
    rows = await world.rows("files", owner_id=person.id)
    for name in await everything_on_disk(settings) - before:
        assert name.startswith(tuple(str(row["id"]) for row in rows)), "an object without a row"
    for row in rows:
        # A link that was signed for it answers with all of the bytes, or not at all.
        link = (await person.get(f"/api/v1/files/{row['id']}")).json()
        public = settings.public_url
        for url, size in ((link["url"], row["size_bytes"]), (link["thumbnail_url"], row["thumbnail_bytes"])):
            answer = await world.http.get(url.removeprefix(public))
            assert answer.status_code == 404 or len(answer.content) == size
    await two_hours_pass(world, settings, person)
    await files.sweep(world.platform)
    assert await world.rows("files", owner_id=person.id) == []
    assert await everything_on_disk(settings) <= before


@pytest.mark.parametrize("when", list(When))
async def test_an_upload_that_dies_at_a_statement_leaves_nothing(
    world: World, configured: Settings, when: When
) -> None:
    for number in range(1, STATEMENTS + 1) if ALL else [random.choice((STATEMENTS - 1, STATEMENTS))]:
        person, before = await world.person(), await everything_on_disk(configured)
        async with proxy(configured.database_url) as (proxying, url):
            proxying.arm(number, when, Kill())
            assert await run(url, "store", person) == -signal.SIGKILL, f"lived through statement {number}"
        await nothing_is_left(world, configured, person, before)


@pytest.mark.parametrize("when", ["before", "middle", "after"])
async def test_an_upload_that_dies_while_its_objects_are_written_leaves_nothing(
    world: World, configured: Settings, when: str
) -> None:
    for number in range(1, PUTS + 1) if ALL else [random.randint(1, PUTS)]:
        person, before = await world.person(), await everything_on_disk(configured)
        assert await run(configured.database_url, "store", person, number, when) == -signal.SIGKILL
        (row,) = await world.rows("files", owner_id=person.id)
        assert row["subject_id"] is None
        await nothing_is_left(world, configured, person, before)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_sweep_that_dies_is_finished_by_the_next(world: World, configured: Settings, when: str) -> None:
    for number in range(1, DELETES + 1) if ALL else [random.randint(1, DELETES)]:
        await files.sweep(world.platform)
        person, before = await world.person(), await everything_on_disk(configured)
        assert await run(configured.database_url, "store", person) == 0
        (row,) = await world.rows("files", owner_id=person.id)
        assert on_disk(configured, row["id"]) == [str(row["id"]), f"{row['id']}.thumbnail"]
        await two_hours_pass(world, configured, person)
        assert await run(configured.database_url, "sweep", person, number, when) == -signal.SIGKILL
        assert (await person.get(f"/api/v1/files/{row['id']}")).status_code == 404
        await files.sweep(world.platform)
        assert await world.rows("files", owner_id=person.id) == []
        assert await everything_on_disk(configured) <= before
