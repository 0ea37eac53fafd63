"""Runs the embedded servers on the folder it is given, commits what it can say about them, and waits to be ended."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import asyncpg
import redis

from app.core.embedded import EmbeddedServers, embedded_servers


async def commit_a_row(servers: EmbeddedServers) -> None:
    connection = await asyncpg.connect(servers.database_url.replace("+asyncpg", ""))
    await connection.execute("CREATE TABLE notes (words text); INSERT INTO notes VALUES ('still here')")
    await connection.close()


if __name__ == "__main__":
    # Whoever runs the tests in a shell's background has it ignored, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with embedded_servers(Path(sys.argv[1])) as servers:
        asyncio.run(commit_a_row(servers))
        with redis.Redis.from_url(servers.redis_url) as valkey:
            valkey.set("words", "here too")
        print("ready", flush=True)
        while True:  # not `signal.pause()`, which a signal that comes in the instant before does not end
            time.sleep(0.05)
