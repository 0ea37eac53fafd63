"""Makes this process believe in another time, as a machine does whose clock was set wrong.

The product asks for the time by `time.time`, `time.time_ns` and `datetime.now`; waiting and measuring use the monotonic
clock, which no wrong setting reaches.
"""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Self

_BELIEVERS = ("app.", "jose.")


def skew(seconds: float) -> None:
    """From now on the clock of this process is so many seconds ahead, or behind."""
    rightly, rightly_ns = time.time, time.time_ns

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    time.time = lambda: rightly() + seconds
    time.time_ns = lambda: rightly_ns() + int(seconds * 1e9)
    for name, module in list(sys.modules.items()):
        if name.startswith(_BELIEVERS) and getattr(module, "datetime", None) is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]  # it was just found there
