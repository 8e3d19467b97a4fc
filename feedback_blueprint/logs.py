"""What goes into the host app's log: a line for each kind of trouble, not for each request."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

INTERVAL = 60.0
"""Seconds in which one kind of trouble is logged once."""

log = logging.getLogger(__package__)


class Complaints:
    """Logs trouble, each kind of it at most once a minute, with a count of what was left out.

    Never raises: a handler or filter of the app that fails is not the business of an answer, nor is
    an object in the text that cannot be shown.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(
        self, kind: str, text: str, *args: object, exc_info: BaseException | bool = False
    ) -> None:
        """Log a warning, unless one of its kind was logged within the last minute."""
        now = time.monotonic()
        if now < self._next.get(kind, 0.0):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._next[kind] = now + INTERVAL
        left_out = self._left_out.pop(kind, 0)
        text += f" ({left_out} more like this)" if left_out else ""
        try:
            text, args = _showable(text, args)
            log.warning(text, *args, exc_info=exc_info)
        except orders():
            raise
        except BaseException:  # there is no other place to say so
            return

    def quietly(self, text: str, *args: object) -> Quietly:
        """Log what goes wrong in a `with` block, and let the answer go on."""
        return Quietly(self, text, args)


class Quietly:
    """Logs what goes wrong in a `with` block, with its traceback, and lets the answer go on.

    Made beforehand, it takes no more of the stack than the function that gave the answer did: what
    finds too little left in the block is left undone, and where there is too little to say so,
    nothing is said.
    """

    def __init__(self, complaints: Complaints, text: str, args: tuple[object, ...]) -> None:
        self._complaints = complaints
        self._text = text
        self._args = args

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if kind is None:
            return False
        try:
            if issubclass(kind, orders()):
                return False
            name = f"{self._text} {id(kind)}"  # what a class calls itself may raise, too
            self._complaints.warn(name, self._text, *self._args, exc_info=error or True)
        except RecursionError:
            pass
        return True


def orders() -> tuple[type[BaseException], ...]:
    """Return what tells a thread or a greenlet to end: the server's business, never ours to stop.

    Whatever else derives from `BaseException` is trouble like any other, as nothing of the app's is
    under way where it is met. A `gevent.Timeout` finds nothing left to cut short. A task is
    cancelled where it awaits and a generator closed where it yields, which we do not do there:
    so it is a library's, which the app's own functions have called.
    """
    killed: type[BaseException] = getattr(sys.modules.get("greenlet"), "GreenletExit", SystemExit)
    return KeyboardInterrupt, SystemExit, killed


def _showable(text: str, args: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
    """Return what handlers can format: each of them would stumble over the same `__repr__`."""
    try:
        _ = text % args
    except orders():
        raise
    except BaseException:
        return f"{text} (what it names cannot be shown)", ()
    return text, args
