"""A value that all callers share, such as a client that connects when it is made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from ...per_process import PerProcess, new_lock
from ..deadline import DEADLINE
from .errors import FAILURES


class Cached:
    """What a function returns, kept for so many `seconds`; what it raises, kept for one second.

    If three hundred callers need it at once, one of them makes it and the others wait.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = PerProcess(new_lock)
        self._now = clock
        self._until = -math.inf
        self.value: Any = None

    def get(self) -> Any:
        """Return it, made now or before; raises `TimeoutError` if the call has no time to wait."""
        if self._now() > self._until:
            lock = self._lock()
            deadline = DEADLINE.get()
            while not lock.acquire(timeout=deadline.step):
                deadline.spend(deadline.step)
                deadline.left()
            try:
                if self._now() > self._until:
                    try:
                        self.value, seconds = self._make(), self._seconds
                    except FAILURES as error:
                        self.value, seconds = error, 1
                    self._until = self._now() + seconds
            finally:
                lock.release()
        value = self.value
        if isinstance(value, Exception):
            raise value.with_traceback(None)  # which would grow with each caller
        return value
