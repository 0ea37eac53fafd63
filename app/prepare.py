"""What the database needs before a server of this version is ready: the newest schema and, if wanted, the demo town.

`python -m app.prepare` is what `localbazaar up` starts beside the server and the worker, while they load.
"""

import argparse
import asyncio

from app.core.config import Settings, settings
from app.jobs import relay
from app.kernel.platform import open_platform
from app.migrate import migrate
from app.services.flows import town


async def seed(configured: Settings) -> bool:
    """Bring the catalogue up to date and, in an empty database, make the town; False if none was made."""
    async with open_platform(configured) as platform:
        made = await town.seed(platform)
        if made:
            await relay.skip(platform)
        return made


def prepare(configured: Settings, *, seed_town: bool) -> None:
    migrate(configured)
    if seed_town:
        asyncio.run(seed(configured))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", action="store_true")
    prepare(settings(), seed_town=parser.parse_args().seed)
