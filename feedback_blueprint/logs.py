"""What goes into the host app's log: a line for each kind of trouble, not for each request."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager

INTERVAL = 60.0
"""Seconds in which one kind of trouble is logged once."""

log = logging.getLogger(__package__)


class Complaints:
    """Logs trouble, each kind of it at most once a minute, with a count of what was left out.

    Never raises: a handler or filter of the app that fails is not the business of an answer.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, kind: str, text: str, *args: object, exc_info: bool = False) -> None:
        """Log a warning, unless one of its kind was logged within the last minute."""
        now = time.monotonic()
        if now < self._next.get(kind, 0.0):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._next[kind] = now + INTERVAL
        left_out = self._left_out.pop(kind, 0)
        text += f" ({left_out} more like this)" if left_out else ""
        try:
            log.warning(text, *args, exc_info=exc_info)
        except Exception:  # there is no other place to say so
            return

    @contextmanager
    def quietly(self, text: str, *args: object) -> Generator[None]:
        """Log what goes wrong in here, with its traceback, and let the answer go on."""
        try:
            yield
        except Exception as error:
            self.warn(f"{text} {type(error)}", text, *args, exc_info=True)
