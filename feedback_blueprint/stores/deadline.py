"""How long a call may still wait for the store."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from threading import TIMEOUT_MAX

TIMEOUTS_PER_CALL = 2
"""Timeouts that a call may wait in all, whatever it does."""

STEPS = 10
"""A step that ends well counts at most a deadline's seconds divided by this."""


class Deadline:
    """The `seconds` that a call may wait for the store, whatever it does.

    They do not pass while the call itself works. A step that ends well counts at most a tenth of
    them. Among hundreds of greenlets, or in a process that gets no processor, a step waits much
    longer for its turn than for the store, and the call should not give up because of that.

    `has_timed_out`: an attempt got no answer in time, and may have done what it asked all the same.
    """

    def __init__(self, seconds: float) -> None:
        self.has_timed_out = False
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
        """Count the seconds that a call has waited."""
        self._left -= seconds

    def begin(self) -> float:
        """Begin a step and return the seconds that are left for it.

        An earlier step that has not ended counts as failed. Raises `TimeoutError` if no seconds are
        left.
        """
        self.fail()
        self._begun = time.monotonic()
        return self.left()

    def end(self) -> None:
        """End a step that went well."""
        self.spend(max(0, min(time.monotonic() - self._begun, self.step)))
        self._begun = math.inf

    def fail(self) -> None:
        """End a step that failed, which counts in full; if none runs, do nothing."""
        self.spend(max(0, time.monotonic() - self._begun))
        self._begun = math.inf


NO_DEADLINE = Deadline(math.inf)
"""The deadline outside a call, as for a delivery: it never passes."""

DEADLINE: ContextVar[Deadline] = ContextVar("feedback_blueprint.deadline", default=NO_DEADLINE)
"""The deadline of the call that runs here."""
