"""Images in messages: for those who take part, and staff (realtime.md: Chat)."""

import io

import httpx
from PIL import Image

from tests.chats.steps import asked, bought, refused, rejected, succeeded
from tests.support.world import Person, World


async def opens(person: Person, image: str) -> bool:
    return (await person.get(f"/api/v1/files/{image}")).status_code == 200


async def test_an_image_is_open_to_those_who_take_part_and_to_staff_of_the_region(world: World) -> None:
    chat, other = await bought(world), await asked(world)
    image = await chat.customer.upload("chat_image")
    sent = await succeeded(await chat.customer.post(chat.messages, {"image_ids": [image]}))
    assert (sent["text"], sent["image_ids"]) == (None, [image])
    allowed = [await opens(person, image) for person in (chat.provider, world.manager, world.support, world.admin)]
    assert (all(allowed), await opens(other.provider, image), await opens(other.customer, image)) == (
        True,
        False,
        False,
    )


async def test_a_camera_does_not_tell_where_it_was(world: World) -> None:
    chat = await bought(world)
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "SECRET PLACE"
    Image.new("RGB", (64, 48)).save(content, "JPEG", exif=exif)
    image = await chat.customer.upload("chat_image", content.getvalue())
    await succeeded(await chat.customer.post(chat.messages, {"text": "Look", "image_ids": [image]}))
    link = httpx.URL((await succeeded(await chat.provider.get(f"/api/v1/files/{image}")))["url"])
    shown = await world.http.get(link.raw_path.decode())
    assert (shown.status_code, b"SECRET" in shown.content, b"SECRET" in content.getvalue()) == (200, False, True)


async def test_an_image_is_of_the_sender_of_this_purpose_and_used_once(world: World) -> None:
    chat = await bought(world)
    used, photo, others = [
        await person.upload(purpose)
        for person, purpose in (
            (chat.customer, "chat_image"),
            (chat.customer, "photo"),
            (chat.provider, "chat_image"),
        )
    ]
    await succeeded(await chat.customer.post(chat.messages, {"image_ids": [used]}))
    async with world.unchanged():
        for image in (used, photo, others):
            fresh = {"text": "Look", "image_ids": [image]}
            assert refused(await chat.customer.post(chat.messages, fresh)) == (422, "unknown_file")


async def test_an_image_of_a_deleted_message_or_conversation_is_open_to_staff_only(world: World) -> None:
    for deleted in ("message", "conversation"):
        chat = await bought(world)
        image = await chat.customer.upload("chat_image")
        sent = await succeeded(await chat.customer.post(chat.messages, {"image_ids": [image]}))
        if deleted == "message":
            await succeeded(await chat.customer.call("DELETE", f"/api/v1/messages/{sent['id']}"))
        else:
            await rejected(world, chat)
        assert (await opens(chat.provider, image), await opens(world.manager, image)) == (False, True)
