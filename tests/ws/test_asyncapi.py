"""The AsyncAPI document says what the socket does: it is made from the same models, and events validate against it."""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from pydantic import TypeAdapter
from pydantic_core import from_json
from typer.testing import CliRunner

from app.cli import app as cli
from app.core.ids import uuid7
from app.kernel.event_schemas import envelope_example, envelope_schema, example
from app.kernel.events import declared, emit
from app.kernel.platform import Platform
from app.ws.asyncapi import document
from app.ws.protocol import CLIENT_FRAMES, CLOSINGS, SERVER_FRAMES, AnyClientFrame
from tests.support.world import World
from tests.ws.sockets import Served, frame

DOCUMENT = document("https://bazaar.example:8443", "1.2.3")
OFFICIAL = from_json((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_bytes())
EVENTS = [event for event in declared() if not event.name.startswith("test.")]
ROOT = Path(__file__).parents[2]


def schema_of(message: str) -> Any:
    """The message's schema as one that stands alone."""
    reference = DOCUMENT["components"]["messages"][message]["payload"]["$ref"]
    return {"$ref": reference, "components": {"schemas": DOCUMENT["components"]["schemas"]}}


def accepts(message: str, payload: Any) -> bool:
    return jsonschema_rs.is_valid(schema_of(message), payload, validate_formats=True)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def of_the_product(names: Iterable[str]) -> set[str]:
    """Without what tests have declared."""
    return {name for name in names if not name.startswith("test.")}


def test_it_is_valid_by_the_official_schema() -> None:
    validator = jsonschema_rs.validator_for(OFFICIAL)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    # which would find a fault
    broken = deepcopy(DOCUMENT)
    broken["operations"]["sendEvents"]["action"] = "shout"
    assert not validator.is_valid(broken)


def test_whatever_it_refers_to_is_there() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 2 * len(EVENTS)
    for reference in found:
        part: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_every_event_and_every_frame_has_its_message() -> None:
    names = {event.name for event in EVENTS} | {kind.__name__ for kind in (*CLIENT_FRAMES, *SERVER_FRAMES)}
    assert of_the_product(DOCUMENT["components"]["messages"]) == names
    assert of_the_product(DOCUMENT["channels"]["notifications"]["messages"]) == names
    operations = DOCUMENT["operations"].values()
    used = [reference for operation in operations for reference in references(operation["messages"])]
    assert of_the_product(reference.rpartition("/")[2] for reference in used) == names
    # and what is understood is what is documented
    assert set(CLIENT_FRAMES) == set(AnyClientFrame.__args__)


def test_it_tells_how_to_get_in_and_why_one_is_sent_out() -> None:
    assert DOCUMENT["servers"]["this"]["host"] == "bazaar.example:8443"
    assert DOCUMENT["servers"]["this"]["protocol"] == "wss"
    assert DOCUMENT["components"]["securitySchemes"].keys() == {"ticket", "bearer"}
    channel = DOCUMENT["channels"]["notifications"]
    assert {entry["code"] for entry in channel["x-closing-codes"]} == CLOSINGS.keys()
    # and the words for people name the same codes
    page = (ROOT / "docs" / "events.md").read_text("utf-8")
    assert [code for code in CLOSINGS if f"| {code} |" not in page] == []


@pytest.mark.parametrize("kind", [*CLIENT_FRAMES, *SERVER_FRAMES], ids=lambda kind: kind.__name__)
def test_the_example_of_a_frame_is_one(kind: Any) -> None:
    [shown] = DOCUMENT["components"]["messages"][kind.__name__]["examples"]
    assert accepts(kind.__name__, shown["payload"])
    assert kind.model_validate_json(json.dumps(shown["payload"])).wire()
    assert not accepts(kind.__name__, {})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_the_example_of_an_event_is_one(event: Any) -> None:
    shown = envelope_example(event)
    assert accepts(event.name, shown)
    assert "{" not in shown["message"]
    own = {name: value for name, value in shown.items() if name in event.model_fields}
    assert event.model_validate_json(json.dumps(own))


async def test_each_event_arrives_as_its_message_says(small: Served, platform: Platform, world: World) -> None:
    # Given one event of every class
    person = await world.person()
    socket = await small.open(person)
    for event in EVENTS:
        shown = envelope_example(event)
        own = {name: value for name, value in shown.items() if name in event.model_fields}
        async with platform.database.write() as session:
            made = event.model_validate_json(json.dumps(own))
            await emit(session, made, subject_type="test", subject_id=uuid7(), to=[person.id])
    # When they arrive
    for event in EVENTS:
        heard = await frame(socket)
        # Then each fits its own message and nobody else's
        assert heard["name"] == event.name
        assert accepts(event.name, heard), heard
        another = next(other.name for other in EVENTS if other is not event)
        assert not accepts(another, heard)
    await socket.close()


def test_an_example_is_found_for_whatever_a_field_may_be() -> None:
    kinds: list[Any] = [list[int], int | None, bool, dict[str, int], float, str, dict[str, Any] | list[bool] | None]
    for kind in kinds:
        schema = TypeAdapter(kind).json_schema()
        assert jsonschema_rs.is_valid(schema, example(schema))


def test_an_envelope_is_open_and_names_its_event() -> None:
    event = EVENTS[0]
    schema, definitions = envelope_schema(event)
    assert definitions == {}
    shown = envelope_example(event)
    assert jsonschema_rs.is_valid(schema, shown | {"joined_later": 1})
    assert not jsonschema_rs.is_valid(schema, shown | {"name": "something.else"})
    assert not jsonschema_rs.is_valid(schema, {name: value for name, value in shown.items() if name != "id"})


async def test_the_server_hands_it_out(http: httpx.AsyncClient) -> None:
    answer = await http.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert jsonschema_rs.is_valid(OFFICIAL, answer.json())
    assert answer.json()["asyncapi"] == "3.0.0"


def test_the_command_prints_it_and_writes_it_without_a_server(tmp_path: Path) -> None:
    path = tmp_path / "asyncapi.json"
    printed = CliRunner().invoke(cli, ["asyncapi"])
    written = CliRunner().invoke(cli, ["asyncapi", "--to", str(path)])
    assert (printed.exit_code, written.exit_code, written.stdout) == (0, 0, "")
    assert from_json(printed.stdout) == from_json(path.read_bytes())
    assert jsonschema_rs.is_valid(OFFICIAL, from_json(printed.stdout))
