"""Every other kind of path, one request at a time: none may be slow for somebody who is alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.core.ids import uuid7
from bench.compare import percentile
from bench.load import Job
from bench.stage import Stage, request, token
from bench.world import ANSWERS, HERE, Made, World

_COUNT: Final = 100
_SECONDS: Final = 10

MakeRequest = Callable[[Made], bytes]


@dataclass(frozen=True)
class Alone:
    """How long one request takes when there is no other, in milliseconds."""

    path: str
    count: int
    p50: float
    p99: float
    failures: dict[str, int]


class Paths:
    """The requests of each path, about service requests that the path fits."""

    def __init__(self, world: World) -> None:
        self._world = world

    def as_customer(self, method: str, path: str, body: object = None) -> MakeRequest:
        def make(made: Made) -> bytes:
            bearer = token(self._world.person(made.customer_id), "customer")
            key = uuid7() if path == "service-requests" and method == "POST" else None
            return request(method, _fill(path, made), bearer=bearer, body=body, key=key)

        return make

    def as_provider(self, method: str, path: str, body: Callable[[Made], object] | None = None) -> MakeRequest:
        def make(made: Made) -> bytes:
            assert made.provider_id is not None
            bearer = token(self._world.person(made.provider_id), "customer", "provider")
            key = uuid7() if path.endswith("/purchase") else None
            sent = body(made) if body else None
            return request(method, _fill(path, made), bearer=bearer, body=sent, key=key)

        return make

    def as_nobody(self, path: str) -> MakeRequest:
        return lambda made: request("GET", path)

    async def all(self) -> list[tuple[str, MakeRequest, Sequence[Made]]]:
        """In an order in which each finds what it needs: a request is bought, started, completed, approved."""
        fresh = await self._world.requests(_COUNT, status="PENDING", buyers=0, near=True)
        bought = await self._world.requests(_COUNT)
        providers = self._world.providers
        fresh = [made._replace(provider_id=providers[n % len(providers)].id) for n, made in enumerate(fresh)]
        wanted = {
            "service_id": self._world.service_id, "description": "The tap drips.", "answers": ANSWERS,
            "address": "12 Karve Road", "position": HERE.model_dump(),
        }  # fmt: skip
        reason = {"reason": "it took too long"}
        a_request = "service-requests/{id}"
        near = f"latitude={HERE.latitude}&longitude={HERE.longitude}"
        return [
            ("post a request", self.as_customer("POST", "service-requests", wanted), fresh),
            ("open leads near me", self.as_provider("GET", "leads/open"), fresh),
            ("read an open lead", self.as_provider("GET", a_request), fresh),
            ("buy a lead", self.as_provider("POST", f"{a_request}/purchase"), fresh),
            ("start", self.as_provider("POST", f"{a_request}/start"), bought),
            (
                "complete", self.as_provider("POST", f"{a_request}/complete", lambda made: {"proof_id": made.proof_id}),
                bought,
            ),
            ("send back", self.as_customer("POST", f"{a_request}/send-back", reason), bought[: _COUNT // 2]),
            ("approve", self.as_customer("POST", f"{a_request}/approve"), bought[_COUNT // 2 :]),
            ("cancel, fees go back", self.as_customer("POST", f"{a_request}/cancel", reason), fresh),
            ("bought leads", self.as_provider("GET", "leads"), bought),
            ("wallet", self.as_provider("GET", "wallet"), fresh),
            ("wallet statement", self.as_provider("GET", "wallet/entries"), fresh),
            ("feed", self.as_customer("GET", "notifications"), fresh),
            ("mark the feed as read", self.as_customer("POST", "notifications/read"), fresh),
            ("account", self.as_customer("GET", "me"), fresh),
            ("own sessions", self.as_customer("GET", "auth/sessions"), fresh),
            ("provider profile", self.as_provider("GET", "me/provider"), fresh),
            ("socket ticket", self.as_customer("POST", "ws/tickets"), fresh),
            ("link of a file", self.as_provider("GET", "files/{proof_id}"), bought),
            ("providers near a position", self.as_nobody(f"/api/v1/providers?{near}"), fresh),
            ("services", self.as_nobody("/api/v1/services"), fresh),
            ("regions", self.as_nobody("/api/v1/regions"), fresh),
            ("health", self.as_nobody("/healthz"), fresh),
            ("readiness", self.as_nobody("/readyz"), fresh),
        ]  # fmt: skip


def _fill(path: str, made: Made) -> str:
    return "/api/v1/" + path.format(id=made.id, proof_id=made.proof_id)


async def measure_alone(stage: Stage, world: World) -> list[Alone]:
    """Each path in turn, over one connection."""
    found = []
    for name, make, about in await Paths(world).all():
        outcome = stage.load.run(Job(stage.product.port, [make(made) for made in about], 1, _SECONDS, once=True))
        found.append(
            Alone(
                name,
                outcome.done,
                percentile(outcome.latencies, 50) * 1000,
                percentile(outcome.latencies, 99) * 1000,
                outcome.failures,
            )
        )
    return found
