"""Until when a call to the store has to be over."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

UNTIL: ContextVar[float] = ContextVar("feedback_blueprint.until", default=math.inf)
"""When the call that runs here has to be over, by `time.monotonic()`."""


def is_over() -> bool:
    """Whether the call that runs here has no time left."""
    return time.monotonic() >= UNTIL.get()


def left() -> float:
    """Return how many seconds the call that runs here still has; without one, infinitely many.

    Raises `TimeoutError` if there are none.
    """
    if (seconds := UNTIL.get() - time.monotonic()) > 0:
        return seconds
    raise TimeoutError("its time is up")
