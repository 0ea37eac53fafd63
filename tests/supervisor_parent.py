"""Supervises the Python programs it is given, one per argument, and says `ready` once all were started."""

import logging
import os
import sys

from app.supervisor import Child, supervise

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    programs = {f"child {number}": source for number, source in enumerate(sys.argv[1:])}
    grace_seconds = float(os.environ.get("GRACE_SECONDS", "10"))
    children = [Child(name, [sys.executable, "-c", source], {"NAME": name}) for name, source in programs.items()]
    sys.exit(supervise(children, ready=lambda: print("ready", flush=True), grace_seconds=grace_seconds))
