"""Private files: limits at the door, the quota, signed links, and what happens to files that nobody uses."""

import asyncio
import hashlib
import io
import time
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from app.core.actor import Actor
from app.core.errors import Unprocessable
from app.kernel import files, subjects
from app.models.files import FilePurpose
from app.schemas.files import StoredFile
from tests.kernel.test_media import film, png_bomb
from tests.support.world import Person, World, picture

FILES = "/api/v1/files"


async def upload(person: Person, content: bytes, purpose: str = "proof") -> httpx.Response:
    return await person.post(FILES, data={"purpose": purpose}, files={"file": ("x", content)})


async def opened(world: World, url: str) -> httpx.Response:
    return await world.http.get(url.removeprefix(world.platform.settings.public_url))


async def test_a_proof_is_kept_as_it_was_made(world: World) -> None:
    person, content = await world.person(), picture() + b"a tail, as some cameras write"
    stored = (await upload(person, content)).json()
    (row,) = await world.rows("files", id=UUID(stored["id"]))
    assert (row["owner_id"], row["sha256"]) == (person.id, hashlib.sha256(content).digest())
    assert (row["size_bytes"], row["subject_id"], row["discarded_at"]) == (len(content), None, None)
    link = (await person.get(f"{FILES}/{stored['id']}")).json()
    answer = await opened(world, link["url"])
    assert answer.content == content
    # Whatever is inside, no browser runs it
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == f'attachment; filename="{stored["id"]}"'
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_film_is_proof_and_nothing_else(world: World) -> None:
    person = await world.person()
    stored = await upload(person, film())
    assert stored.json()["content_type"] == "video/mp4"
    assert (await opened(world, (await person.get(f"{FILES}/{stored.json()['id']}")).json()["url"])).content == film()
    for purpose in ("photo", "document"):
        async with world.unchanged():
            assert (await upload(person, film(), purpose)).status_code == 415


async def test_pictures_above_the_limits_are_refused(world: World) -> None:
    person = await world.person()
    heavy = picture() + bytes(10 * 1024 * 1024)
    for content in (heavy, png_bomb(30_000, 30_000)):
        async with world.unchanged():
            answer = await upload(person, content)
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_who_is_not_signed_in_or_names_no_purpose_leaves_nothing(world: World) -> None:
    person = await world.person()
    async with world.unchanged():
        assert (
            await world.http.post(FILES, data={"purpose": "proof"}, files={"file": ("x", picture())})
        ).status_code == 401
        assert (await upload(person, picture(), "treasure")).status_code == 422
        assert (await person.post(FILES, files={"file": ("x", picture())})).status_code == 422
        assert (await person.post(FILES, data={"purpose": "proof"})).status_code == 422


async def test_the_quota_of_unattached_files_holds_for_thirty_uploads_at_once(world: World) -> None:
    # Given a quota of twenty
    person = await world.person()
    # When thirty come at once
    answers = await asyncio.gather(*(upload(person, picture()) for _ in range(30)))
    # Then twenty are kept, and no object of another one
    assert Counter(answer.status_code for answer in answers) == {201: 20, 409: 10}
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"too_many_unattached_files"}
    rows = await world.rows("files", owner_id=person.id)
    assert {str(row["id"]) for row in rows} == {answer.json()["id"] for answer in answers if answer.is_success}
    assert {str(row["id"]) for row in rows} <= set(await world.platform.storage.keys())
    async with world.unchanged():
        assert (await upload(person, picture())).status_code == 409
        # and nobody even looks at what it is
        assert (await upload(person, b"no picture at all")).status_code == 409
    # One that is used makes room for one more
    async with world.platform.database.write() as session:
        about = ("service_request", uuid4())
        await files.attach(session, Actor(person.id), [rows[0]["id"]], FilePurpose.PROOF, about)
    assert (await upload(person, picture())).status_code == 201


async def test_a_link_ends_and_cannot_be_forged(world: World) -> None:
    person = await world.person()
    mine, other = await person.upload(), await person.upload()
    link = (await person.get(f"{FILES}/{mine}")).json()
    query = {name: values[0] for name, values in parse_qs(urlsplit(link["url"]).query).items()}
    seconds = int(query["expires"]) - time.time()
    assert 295 < seconds <= 300
    sign = world.platform.signatures.sign
    past = str(int(time.time()) - 1)
    forged = {
        "another file": (other, query),
        "a later end": (mine, query | {"expires": str(int(query["expires"]) + 1)}),
        "another signature": (mine, query | {"signature": "A" * 43}),
        "no signature": (mine, query | {"signature": ""}),
        "a signature that is cut off": (mine, query | {"signature": query["signature"][:-1]}),
        "text that is none": (mine, query | {"signature": "ü\x00"}),
        "a link that has ended": (mine, {"expires": past, "signature": sign(mine, past)}),
        "a link to nothing": (uuid := str(uuid4()), query | {"signature": sign(uuid, query["expires"])}),
    }
    for what, (file_id, parameters) in forged.items():
        answer = await world.http.get(f"{FILES}/{file_id}/content", params=parameters)
        assert answer.status_code == 404, what
    assert (await world.http.get(f"{FILES}/{mine}/content")).status_code == 422
    assert (await opened(world, link["url"])).status_code == 200


async def test_a_link_to_an_object_that_is_gone_answers_nothing(world: World) -> None:
    # given: the storage has lost a file and its small copy
    person = await world.person()
    file_id = await person.upload()
    link = (await person.get(f"{FILES}/{file_id}")).json()
    for key in (file_id, f"{file_id}.thumbnail"):
        await world.platform.storage.delete(key)
    for name in ("url", "thumbnail_url"):
        # when
        answer = await opened(world, link[name])
        # then
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_link_to_a_thumbnail_opens_the_thumbnail_only(world: World) -> None:
    person = await world.person()
    image, other = [(await person.get(f"{FILES}/{await person.upload()}")).json() for _ in range(2)]
    film_ = (await person.get(f"{FILES}/{await person.upload('proof', film())}")).json()
    assert (await opened(world, image["thumbnail_url"])).headers["content-type"] == "image/jpeg"
    assert film_["thumbnail_url"] is None
    assert (await opened(world, film_["url"].replace("/content?", "/thumbnail?"))).status_code == 404
    assert (await opened(world, image["thumbnail_url"].replace("/thumbnail?", "/content?"))).status_code == 404
    assert (await opened(world, image["url"].replace("/content?", "/thumbnail?"))).status_code == 404
    assert (await opened(world, image["thumbnail_url"].replace(image["id"], other["id"]))).status_code == 404


async def test_what_one_user_stores_in_a_day_is_bounded(world: World) -> None:
    # given a day's allowance of two and a half pictures
    person, size = await world.person(), len(picture())
    narrow = world.platform.settings.model_copy(update={"files_bytes_per_user_a_day": size * 5 // 2})
    platform = replace(world.platform, settings=narrow)

    async def store() -> object:
        return await files.store(platform, Actor(person.id), FilePurpose.PROOF, io.BytesIO(picture()), size)

    # when five come at once
    outcomes = await asyncio.gather(*(store() for _ in range(5)), return_exceptions=True)
    # then two are kept
    assert Counter(type(outcome) for outcome in outcomes) == {files.DailyQuotaReached: 3, StoredFile: 2}
    # and tomorrow there is room again
    async with world.unchanged():
        with pytest.raises(files.DailyQuotaReached):
            await store()
    await world.execute(
        "UPDATE files SET created_at = now() - interval '25 hours' WHERE owner_id = cast(:id AS uuid)",
        id=str(person.id),
    )
    await store()


async def answered_before_the_end(world: World, head: bytes, content: bytes) -> bytes:
    """What the server says to a request of which it has this much, and of which 50 MB are still to come."""
    port = world.http.base_url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /api/v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            + head
            + b"Content-Length: %d\r\n\r\n" % (len(content) + 50 * 1024 * 1024)
            + content
        )
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n") + await reader.read(1000)
    finally:
        writer.close()


async def test_nothing_is_read_from_who_is_not_signed_in(world: World) -> None:
    async with world.unchanged():
        for head in (b"", b"Authorization: Bearer nonsense\r\n"):
            answer = await answered_before_the_end(world, head, b"")
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b'"unauthenticated"' in answer


async def test_no_image_is_read_any_further_than_it_may_be_large(world: World) -> None:
    person = await world.person()
    begun = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nevidence\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    head = b"Authorization: " + person.headers["Authorization"].encode() + b"\r\n"
    async with world.unchanged():
        answer = await answered_before_the_end(world, head, begun + picture().ljust(10 * 1024 * 1024 + 1, b"\0"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"payload_too_large"' in answer
    assert b'"limit_bytes":10485760' in answer


async def test_an_unattached_file_is_its_owners_alone(world: World) -> None:
    person, others = await world.person(), [await world.person(), world.admin, world.support, world.manager]
    file_id = await person.upload()
    assert (await person.get(f"{FILES}/{file_id}")).status_code == 200
    for other in others:
        assert (await other.get(f"{FILES}/{file_id}")).status_code == 404
    assert (await world.http.get(f"{FILES}/{file_id}")).status_code == 401
    assert (await person.get(f"{FILES}/{uuid4()}")).status_code == 404


async def test_what_no_subject_declares_is_denied(world: World) -> None:
    """A purpose that the subject has no readers for, and a subject that nobody knows."""
    request_id = UUID(await world.request(await world.person()))
    admin = Actor(world.admin.id, frozenset({"admin"}))
    async with world.platform.database.read() as session:
        assert not await subjects.may_read(session, admin, "service_request", request_id, FilePurpose.DOCUMENT)
        assert not await subjects.may_read(session, admin, "unheard_of", request_id, FilePurpose.PROOF)
        assert not await subjects.may_read(session, admin, "service_request", uuid4(), FilePurpose.PROOF)
        assert await subjects.may_read(session, admin, "service_request", request_id, FilePurpose.PROOF)


async def test_files_are_attached_once_by_their_owner_and_all_or_none(world: World) -> None:
    person, other = await world.person(), await world.person()
    mine = [UUID(await person.upload("photo")) for _ in range(2)]
    foreign = UUID(await other.upload("photo"))
    proof = UUID(await person.upload("proof"))

    async def attach(ids: list[UUID]) -> None:
        async with world.platform.database.write() as session:
            await files.attach(session, Actor(person.id), ids, FilePurpose.PHOTO, ("service_request", uuid4()))

    for ids in ([*mine, foreign], [mine[0], proof], [mine[0], uuid4()]):
        with pytest.raises(Unprocessable):
            await attach(ids)
    assert {row["subject_id"] for row in await world.rows("files", owner_id=person.id)} == {None}
    # Ten want the same two at once: one gets them
    outcomes = await asyncio.gather(*(attach(mine) for _ in range(10)), return_exceptions=True)
    assert outcomes.count(None) == 1
    with pytest.raises(Unprocessable):
        await attach([mine[0]])


async def test_the_sweep_removes_what_nobody_used(world: World) -> None:
    # Given files: fresh, forgotten, discarded half-way, and attached long ago
    person = await world.person()
    fresh, forgotten, discarded, attached = [UUID(await person.upload()) for _ in range(4)]
    await world.execute(
        "UPDATE files SET created_at = now() - interval '2 hours' WHERE id = any(cast(:ids AS uuid[]))",
        ids=[str(forgotten), str(attached)],
    )
    await world.execute("UPDATE files SET discarded_at = now() WHERE id = cast(:id AS uuid)", id=str(discarded))
    async with world.platform.database.write() as session:
        await files.attach(session, Actor(person.id), [attached], FilePurpose.PROOF, ("service_request", uuid4()))
    # When three sweeps run at once
    await asyncio.gather(*(files.sweep(world.platform) for _ in range(3)))
    # Then rows and objects of the forgotten and the discarded one are gone, and of no other
    kept = {fresh, attached}
    assert {row["id"] for row in await world.rows("files", owner_id=person.id)} == kept
    assert set(await world.platform.storage.keys()) & {str(i) for i in (fresh, forgotten, discarded, attached)} == {
        str(file_id) for file_id in kept
    }


async def test_a_sweep_that_dies_half_way_is_finished_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await world.person()
    file_id = await person.upload()
    await world.execute(
        "UPDATE files SET created_at = now() - interval '2 hours' WHERE id = cast(:id AS uuid)", id=file_id
    )

    async def dies(_: str) -> None:
        raise OSError("the storage is away")

    with monkeypatch.context() as broken:
        broken.setattr(type(world.platform.storage), "delete", staticmethod(dies))
        with pytest.raises(OSError, match="away"):
            await files.sweep(world.platform)
    # The file is on its way out: it can be neither opened nor used
    assert (await person.get(f"{FILES}/{file_id}")).status_code == 404
    await files.sweep(world.platform)
    assert await world.rows("files", id=UUID(file_id)) == []
    assert file_id not in await world.platform.storage.keys()


async def test_an_upload_that_dies_in_the_storage_leaves_no_object_without_a_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await world.person()

    async def dies(*_: object) -> None:
        raise OSError("the storage is full")

    with monkeypatch.context() as broken:
        broken.setattr(type(world.platform.storage), "put", dies)
        with pytest.raises(OSError, match="full"):
            await files.store(
                world.platform, Actor(person.id), FilePurpose.PROOF, io.BytesIO(picture()), len(picture())
            )
    (row,) = await world.rows("files", owner_id=person.id)
    await world.execute(
        "UPDATE files SET created_at = now() - interval '2 hours' WHERE id = cast(:id AS uuid)", id=str(row["id"])
    )
    await files.sweep(world.platform)
    assert await world.rows("files", owner_id=person.id) == []
