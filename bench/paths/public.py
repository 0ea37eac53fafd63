"""What anybody may ask, and what looks after the server."""

from collections.abc import Sequence

from bench.paths.asking import COUNT, NOBODY, Question
from bench.paths.town import Town, in_turn
from bench.world import HERE


async def questions(town: Town) -> Sequence[Question]:
    anything = in_turn(town.world.customers, COUNT)
    near = f"latitude={HERE.latitude}&longitude={HERE.longitude}"
    return [
        Question("providers near a position", NOBODY.get(f"providers?{near}"), anything),
        Question("providers of a service", NOBODY.get(f"providers?{near}&service=plumbing"), anything),
        Question("categories", NOBODY.get("categories"), anything),
        Question("services", NOBODY.get("services"), anything),
        Question("regions", NOBODY.get("regions"), anything),
        Question("lifecycles", NOBODY.get("lifecycles"), anything),
        Question("key for web push", NOBODY.get("push/key"), anything),
        Question("health", NOBODY.get("/healthz"), anything),
        Question("readiness", NOBODY.get("/readyz"), anything),
    ]
