"""A plugin of pytest for `make mutants`: what makes thousands of runs in forks of one process affordable."""

import gc
import json
from pathlib import Path

import pytest

_STATS = Path("mutmut-stats.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, as mutmut has timed them: most mutants die of the first; its fork server sorts none."""
    if _STATS.exists():
        seconds = json.loads(_STATS.read_text())["duration_by_test"]
        items.sort(key=lambda item: float(seconds.get(item.nodeid, 0)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the fork server has imported stays: a fork whose collector looked through it would copy all of it."""
    if session.config.option.collectonly:
        gc.freeze()
