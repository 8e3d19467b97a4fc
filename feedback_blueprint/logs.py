"""What goes into the app's log: a line for each kind of trouble, not for each request."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

INTERVAL = 60.0
"""Seconds for which we log one kind of trouble once."""

MAX_CAUSES = 3
"""Lines of one kind in that time, if each has another cause."""

MAX_LINE = 1000
"""Characters of a line: what an app names in it can be of any length."""

logger = logging.getLogger(__package__)


@dataclass
class Kind:
    """One kind of trouble: which causes we logged, until when, and how many lines we left out."""

    until: float
    causes: set[str] = field(default_factory=set)
    left_out: int = 0


class ThrottledLog:
    """Logs each kind of trouble once a minute, with a count of the lines that it left out.

    Logs up to three lines if their causes differ. Causes that differ only in numbers are the same.

    Never raises, because no answer may fail for it: not if a handler or filter of the app fails,
    and not if an object in the text cannot be shown.
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

        Without a `cause`, the text without its arguments is the cause.
        """
        now = self._now()
        known = self._kinds.get(kind)
        cause = re.sub(r"\d+", "", cause or text)
        if known is None or now >= known.until:
            left_out = known.left_out if known else 0
            text += f" ({left_out} more like this)" if left_out else ""
            known = self._kinds[kind] = Kind(now + INTERVAL)
        elif cause in known.causes or len(known.causes) >= MAX_CAUSES:
            known.left_out += 1
            return
        known.causes.add(cause)
        warn(text, *args, exc_info=exc_info)

    def catch(self, text: str, *args: object) -> CatchAndLog:
        """Return a context manager that logs what goes wrong in its block, and lets all go on."""
        return CatchAndLog(self, text, args)


class CatchAndLog:
    """A context manager that logs what goes wrong in its block, with a traceback, and goes on.

    If it must work when the stack is nearly full, make it before the app's function is called: to
    enter and leave it then needs no more of the stack than that function did. If the stack has no
    room even for the log line, there is none.
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
            if issubclass(kind, exits()):
                return False
            name = f"{self._text} {id(kind)}"  # to ask a class for its name may raise, too
            self._log.warn(name, self._text, *self._args, exc_info=error or True)
        except RecursionError:
            pass
        return True


def warn(text: str, *args: object, exc_info: BaseException | bool = False) -> None:
    """Log a warning that is rare, each time. Never raises, as `ThrottledLog`."""
    try:
        text, args = _formattable(text, args)
        logger.warning(text, *args, exc_info=exc_info)
    except exits():
        raise
    except BaseException:  # we have no other place to say so
        return


def exits() -> tuple[type[BaseException], ...]:
    """Return what tells a thread or a greenlet to end, which only the server may decide.

    All else that derives from `BaseException` is trouble like any other, because the app's own
    function has ended by then. A `gevent.Timeout` has nothing left to cut short. A task is
    cancelled when it awaits, and a generator is closed when it yields; our code does neither there,
    so such an error comes from a library that one of the app's functions called.
    """
    killed: type[BaseException] = getattr(sys.modules.get("greenlet"), "GreenletExit", SystemExit)
    return KeyboardInterrupt, SystemExit, killed


def _formattable(text: str, args: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
    """Return what handlers can format: the same `__repr__` would fail in each of them."""
    try:
        shown = text % args
    except exits():
        raise
    except BaseException:
        return f"{text} (what it names cannot be shown)", ()
    return (text, args) if len(shown) <= MAX_LINE else ("%s...", (shown[:MAX_LINE],))
