"""The one place that decides that a store is out, and when to ask it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from ..errors import StoreUnavailable
from ..locks import OfProcess
from ..logs import Complaints
from .base import MONTH, Ballot, Message, Outcome, Standing, Store

T = TypeVar("T")

WHOLE = ""
"""The part that all keys are in: where it is out, nothing can be reached."""

PATIENCE = 10.0
"""Seconds after which a caller that was trying again is taken for dead."""

PAUSE = 1.0
"""Seconds between two messages that try to reach a store that is out, if a try takes no longer."""


@dataclass
class Outage:
    """A part of the store that could not be reached, since when a caller may be trying again."""

    why: StoreUnavailable
    until: float
    asked_until: float = 0.0


class Guard:
    """A store that is asked no more, for a second at a time, once it could not be reached.

    What cannot be reached costs each caller a timeout or two. After the first, of those who stash
    only one a second pays that: an answer waits behind it. Where it took longer than a second, as
    a slow resolver does, the pause is as long. A vote may try at any time, if nobody else does, so
    that it is taken as soon as the store is back. A store that answers, be it with an error, is
    not out.
    """

    def __init__(self, store: Store, complaints: Complaints) -> None:
        self._store = store
        self._complaints = complaints
        # A stream that the garbage collector ends in here keeps its text in this very thread.
        self._lock = OfProcess(reentrant=True)
        self._out: dict[str, Outage] = {}

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, instead_of: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message."""
        return self._ask(lambda: self._store.stash(key, message, ttl, instead_of=instead_of), key)

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message."""
        self._ask(lambda: self._store.amend(key, message), key)

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Cast a vote."""
        return self._ask(lambda: self._store.vote(key, raters, ballot), key, eager=True)

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = MONTH
    ) -> list[Standing | None]:
        """Read messages and votes."""
        return self._ask(lambda: self._store.read(keys, raters, ttl), *keys, eager=True)

    def _ask(self, call: Callable[[], T], *keys: str, eager: bool = False) -> T:
        """Let a call through to the store, or refuse it at once; learn from how it ends."""
        parts = {WHOLE, *map(self._store.part_of, keys)}
        if self._out:
            self._refuse_while_out(parts, eager)
        begin = time.monotonic()
        try:
            answer = call()
        except StoreUnavailable as error:
            self._complaints.warn(error.remedy, "Feedback cannot be kept. %s", error)
            if error.unreachable == "crowded":  # nobody asked, so nothing was learned
                self._leave_to_the_next(parts)
            else:
                self._learn(parts, error, time.monotonic() - begin)
            raise
        except BaseException:  # a timeout of gevent's, or a defect
            self._leave_to_the_next(parts)
            raise
        if self._out:
            self._learn(parts, None)
        return answer

    def _refuse_while_out(self, parts: set[str], eager: bool) -> None:
        """Raise for a part that is out; let one caller at a time find out whether it still is."""
        with self._lock():
            now = time.monotonic()
            out = [self._out[part] for part in parts if part in self._out]
            for outage in out:
                if now < outage.asked_until or (not eager and now < outage.until):
                    raise outage.why.again()
            for outage in out:
                outage.asked_until = now + PATIENCE

    def _leave_to_the_next(self, parts: set[str]) -> None:
        with self._lock():
            for part in parts & self._out.keys():
                self._out[part].asked_until = 0.0

    def _learn(self, parts: set[str], error: StoreUnavailable | None, took: float = 0.0) -> None:
        with self._lock():
            for part in parts:
                self._out.pop(part, None)
            if error and error.unreachable:
                out = parts - {WHOLE} if error.unreachable == "part" else {WHOLE}
                until = time.monotonic() + max(PAUSE, took)
                why = error.again()  # without a traceback, which would keep the request alive
                self._out |= {part: Outage(why, until) for part in out or {WHOLE}}
