"""What a process has verified lately about users and may believe for a moment, unless it hears that it changed."""

import time
from collections import defaultdict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar
from uuid import UUID

from app.core.valkey import SESSIONS
from app.kernel.platform import Platform

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Answers of the database about sessions or keys of users.

    What is remembered is forgotten on a hint (milliseconds after the commit that changed it, on every process) and in
    any case after `session_recheck_seconds`, so a lost hint costs a second. The database decides.
    """

    _SIZE: Final = 50_000

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._trusted_for = platform.settings.session_recheck_seconds
        self._values: dict[Key, tuple[float, Value]] = {}
        self._of_user: defaultdict[UUID, set[Key]] = defaultdict(set)

    def get(self, key: Key) -> Value | None:
        known = self._values.get(key)
        return known[1] if known is not None and known[0] > time.monotonic() else None

    def trusted_until(self) -> float:
        """To be asked before the database is: a change that commits in between is not covered up by its answer."""
        return time.monotonic() + self._trusted_for

    def keep(self, key: Key, user_id: UUID, value: Value, trusted_until: float) -> None:
        if len(self._values) >= self._SIZE:
            self.forget_all()
        self._values[key] = trusted_until, value
        self._of_user[user_id].add(key)

    def forget(self, changed: set[UUID]) -> None:
        """All that is remembered of these users."""
        for user_id in changed:
            for key in self._of_user.pop(user_id, ()):
                self._values.pop(key, None)

    def forget_all(self) -> None:
        self._values.clear()
        self._of_user.clear()

    async def listen(self) -> None:
        """Follow the hints of all processes, for as long as this one runs."""
        self._platform.valkey.here[SESSIONS].append(self.forget)
        async for changed in self._platform.valkey.hints(SESSIONS):
            if changed is None:
                self.forget_all()
            else:
                self.forget(changed)
