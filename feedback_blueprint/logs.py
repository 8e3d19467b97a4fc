"""What goes into the host app's log: a line for each kind of trouble, not for each request."""

from __future__ import annotations

import logging
import re
import reprlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

INTERVAL = 60.0
"""Seconds in which one kind of trouble is logged once."""

CAUSES = 3
"""Lines of one kind in that time, if each has a cause of its own."""

LINE = 1000
"""Characters of a line: an app can name things in it that are as long as they like."""

logger = logging.getLogger(__package__)


@dataclass
class Kind:
    """Trouble of one kind: which causes were logged, until when, and how many were left out."""

    until: float
    causes: set[str] = field(default_factory=set)
    left_out: int = 0


class ThrottledLog:
    """Logs trouble, each kind of it once a minute, with a count of what was left out.

    If its cause is another one, up to three lines are logged. Numbers do not make another cause.

    Never raises: a handler or filter of the app that fails is not the business of an answer, nor is
    an object in the text that cannot be shown.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kinds: dict[str, Kind] = {}
        self._now = clock

    def warn(
        self,
        kind: str,
        text: str,
        *args: object,
        cause: str = "",
        exc_info: BaseException | bool = False,
    ) -> None:
        """Log a warning, unless one of its kind and `cause` was logged within the last minute.

        Without a `cause`, the text before its arguments are put in is one.
        """
        now = self._now()
        known = self._kinds.get(kind)
        cause = re.sub(r"\d+", "", cause or text)
        if known is None or now >= known.until:
            left_out = known.left_out if known else 0
            text += f" ({left_out} more like this)" if left_out else ""
            known = self._kinds[kind] = Kind(now + INTERVAL)
        elif cause in known.causes or len(known.causes) >= CAUSES:
            known.left_out += 1
            return
        known.causes.add(cause)
        self.tell(text, *args, exc_info=exc_info)

    def tell(self, text: str, *args: object, exc_info: BaseException | bool = False) -> None:
        """Log a warning that comes rarely."""
        try:
            text, args = _showable(text, args)
            logger.warning(text, *args, exc_info=exc_info)
        except orders():
            raise
        except BaseException:  # there is no other place to say so
            return

    def quietly(self, text: str, *args: object) -> Quietly:
        """Log what goes wrong in a `with` block, and let the answer go on."""
        return Quietly(self, text, args)


class Brief:
    """Shows a value of the app's, but not all of it: it may be a user's text, and long."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return reprlib.repr(self._value)


class Quietly:
    """Logs what goes wrong in a `with` block, with its traceback, and lets the answer go on.

    Made beforehand, it takes no more of the stack than the function that gave the answer did: what
    finds too little left in the block is left undone, and where there is too little to say so,
    nothing is said.
    """

    def __init__(self, log: ThrottledLog, text: str, args: tuple[object, ...]) -> None:
        self._log = log
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
            self._log.warn(name, self._text, *self._args, exc_info=error or True)
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
        shown = text % args
    except orders():
        raise
    except BaseException:
        return f"{text} (what it names cannot be shown)", ()
    return (text, args) if len(shown) <= LINE else ("%s...", (shown[:LINE],))
