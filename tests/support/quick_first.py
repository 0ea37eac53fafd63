"""A plugin of pytest for mutation runs: quick tests first, as mutmut has timed them (its fork server does not)."""

import json
from pathlib import Path

import pytest

_STATS = Path("mutmut-stats.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Most mutants die of the first tests that reach them; the slow ones are for those that do not."""
    if _STATS.exists():
        seconds = json.loads(_STATS.read_text())["duration_by_test"]
        items.sort(key=lambda item: float(seconds.get(item.nodeid, 0)))
