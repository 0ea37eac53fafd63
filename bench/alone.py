"""Every path of every flow, one request at a time: none may be slow for somebody who is alone.

`python -m bench alone` measures this alone. Which paths there are is said in `bench/paths`.
"""

from dataclasses import dataclass
from typing import Final

from app.core.config import settings
from app.jobs.queue import merge_tallies
from app.kernel.platform import open_platform
from bench.compare import percentile
from bench.load import Job
from bench.paths import NOUNS
from bench.paths.asking import Question
from bench.paths.town import Town
from bench.processes import children, processor_seconds, used_since
from bench.stage import Stage
from bench.work import Market
from bench.world import World

_SECONDS: Final = 20


@dataclass(frozen=True)
class Alone:
    """How long one request takes when there is no other, in milliseconds."""

    noun: str
    path: str
    count: int
    first: float
    """The first one, for which the server prepares its statements; the others do not count it."""
    p50: float
    p99: float
    server_microseconds: float
    database_microseconds: float
    """Processor time of each request, to some hundreds: what others do on the machine changes it little."""
    failures: dict[str, int]


async def measure_alone(stage: Stage, world: World, market: Market) -> list[Alone]:
    """Each path in turn, over one connection, once all has been made that any is about."""
    town = Town(world, market, stage.product.port)
    asked = [(noun, question) for noun, make in NOUNS.items() for question in await make(town)]
    async with open_platform(settings()) as platform:
        await merge_tallies(platform)  # as a worker does it every few seconds
    await world.settle()
    return [_measure(stage, noun, question) for noun, question in asked]


def _measure(stage: Stage, noun: str, question: Question) -> Alone:
    requests = [question.make(each) for each in question.about]
    server = processor_seconds(stage.product.pids)
    database = processor_seconds(children(stage.database.postgres_pid))
    outcome = stage.load.run(Job(stage.product.port, requests, 1, _SECONDS, once=True))
    server_seconds, database_seconds = used_since(server), used_since(database)
    first, others = outcome.latencies[:1], outcome.latencies[1:]
    failures = dict(outcome.failures)
    asked = outcome.done + sum(failures.values())
    if left := len(requests) - asked:
        failures[f"not asked within {_SECONDS} s"] = left
    return Alone(
        noun,
        question.name,
        outcome.done,
        first=percentile(first, 50) * 1000,
        p50=percentile(others, 50) * 1000,
        p99=percentile(others, 99) * 1000,
        server_microseconds=server_seconds / max(1, asked) * 1e6,
        database_microseconds=database_seconds / max(1, asked) * 1e6,
        failures=failures,
    )
