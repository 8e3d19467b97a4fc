"""Until when a call to the store has to be over."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

UNTIL: ContextVar[float] = ContextVar("feedback_blueprint.until", default=math.inf)
"""When the call that runs here has to be over, by `waited()`."""


def waited() -> float:
    """Return the seconds that have passed while this process did not work itself.

    Of hundreds of greenlets or threads each waits for all others, and not for the store: that is no
    reason to give up.
    """
    return time.monotonic() - time.process_time()


def is_over() -> bool:
    """Whether the call that runs here has no time left."""
    return waited() >= UNTIL.get()


def left() -> float:
    """Return how many seconds the call that runs here still has; without one, infinitely many.

    Raises `TimeoutError` if there are none.
    """
    if (seconds := UNTIL.get() - waited()) > 0:
        return seconds
    raise TimeoutError("its time is up")
