"""How long a call may still wait for the store."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from threading import TIMEOUT_MAX

STEPS = 10
"""A step that ends well counts this part of a deadline, at most."""


class Deadline:
    """So many `seconds` that a call may wait for the store, whatever it does.

    They do not pass while the call works itself. A step of it that ends well counts a tenth of them
    at most: among hundreds of greenlets, or in a process that gets no processor, a step waits much
    longer for its turn than for the store, and that is no reason to give up.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self.step = min(seconds / STEPS, TIMEOUT_MAX)
        self._begun = math.inf

    def left(self) -> float:
        """Return the seconds that are left; raises `TimeoutError` if there are none."""
        if self._left > 0:
            return self._left
        raise TimeoutError("its time is up")

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._left <= 0

    def spend(self, seconds: float) -> None:
        """Count what a call has waited."""
        self._left -= seconds

    def begin(self) -> float:
        """Begin a step and return the seconds that it has; what did not end before has failed.

        Raises `TimeoutError` if there are none.
        """
        now = time.monotonic()
        self.spend(max(0, now - self._begun))
        self._begun = now
        return self.left()

    def end(self) -> None:
        """End a step that went well."""
        self.spend(max(0, min(time.monotonic() - self._begun, self.step)))
        self._begun = math.inf


NONE = Deadline(math.inf)
"""That of what is no call of the app's; spent or not, it has the same left."""

DEADLINE: ContextVar[Deadline] = ContextVar("feedback_blueprint.deadline", default=NONE)
"""The deadline of the call that runs here."""
