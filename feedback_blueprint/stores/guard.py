"""The one place that decides how long a store may take, that it is out, and when to ask again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

from ..errors import StoreUnavailable
from ..locks import OfProcess
from ..logs import INTERVAL, Complaints
from .base import MONTH, Ballot, Message, Outcome, Standing, Store
from .deadline import UNTIL, waited

T = TypeVar("T")

WHOLE = ""
"""The part that all keys are in: where it is out, nothing can be reached."""

PATIENCE = 10.0
"""Seconds after which a caller that was trying again is taken for dead."""

PAUSE = 1.0
"""Seconds between two messages that try to reach a store that is out, if a try takes no longer."""

TRIES = 2
"""Timeouts that a call may take in all, whatever it does."""

FASTER = "Check its load, its disk and the network to it, or raise FEEDBACK_STORE_TIMEOUT."
"""What to do about a store that is slow."""

What = Literal["messages", "votes"]


def is_slow(seconds: float, timeout: float) -> bool:
    """Whether a call took so long that it would soon fail."""
    return seconds > timeout / 2


@dataclass
class Outage:
    """A part of the store that could not be reached, since when a caller may be trying again."""

    why: StoreUnavailable
    until: float
    asked_until: float = 0.0


@dataclass
class Missed:
    """What was not kept of a part of the store, and since when."""

    since: float
    number: Counter[What] = field(default_factory=Counter)


class Guard:
    """A store that is asked no more, for a second at a time, once it could not be reached.

    A call has two `timeout`s, in seconds, for all that it does, as far as the store can be stopped.
    `measure` is told the seconds of each; one that takes half a timeout or more is in the log, and
    so is, when a store keeps things again, what it did not keep before.

    What cannot be reached costs each caller a timeout or two. After the first, of those who stash
    only one a second pays that: an answer waits behind it. Where it took longer than a second, as
    a slow resolver does, the pause is as long. A vote may try at any time, if nobody else does, so
    that it is taken as soon as the store is back. A store that answers, be it with an error, is
    not out.
    """

    def __init__(
        self,
        store: Store,
        complaints: Complaints,
        timeout: float,
        measure: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._complaints = complaints
        self._timeout = timeout
        self._measure = measure
        self._now = clock
        # A stream that the garbage collector ends in here keeps its text in this very thread.
        self._lock = OfProcess(reentrant=True)
        self._out: dict[str, Outage] = {}
        self._missed: dict[str, Missed] = {}
        self._next_news: dict[str, float] = {}

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, instead_of: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message."""
        return self._ask(
            lambda: self._store.stash(key, message, ttl, instead_of=instead_of),
            key,
            what="messages",
        )

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message."""
        self._ask(lambda: self._store.amend(key, message), key)

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Cast a vote."""
        return self._ask(
            lambda: self._store.vote(key, raters, ballot), key, what="votes", eager=True
        )

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = MONTH
    ) -> list[Standing | None]:
        """Read messages and votes."""
        return self._ask(lambda: self._store.read(keys, raters, ttl), *keys, eager=True)

    def _ask(
        self, call: Callable[[], T], *keys: str, what: What | None = None, eager: bool = False
    ) -> T:
        """Let a call through to the store, or refuse it at once; learn from how it ends."""
        parts = {WHOLE, *map(self._store.part_of, keys)}
        if self._out:
            self._refuse_while_out(parts, what, eager)
        begin = self._now()
        before = UNTIL.set(waited() + TRIES * self._timeout)
        try:
            answer = call()
        except StoreUnavailable as error:
            self._fail(parts, what, error, self._now() - begin)
            raise
        except BaseException:  # a timeout of gevent's, or a defect
            self._leave_to_the_next(parts)
            raise
        finally:
            UNTIL.reset(before)
            took = self._now() - begin
            self._measure(took)
        if is_slow(took, self._timeout):
            text = "The store is slow: a call took %.2f s, and fails at %.2f s. %s"
            self._complaints.warn("slow", text, took, TRIES * self._timeout, FASTER)
        if self._out:
            self._learn(parts, None)
        if self._missed and what:
            self._tell_what_was_missed(parts)
        return answer

    def _fail(
        self, parts: set[str], what: What | None, error: StoreUnavailable, took: float
    ) -> None:
        text = "Feedback cannot be kept. %s"
        self._complaints.warn(error.remedy, text, error, cause=error.why)
        part = WHOLE if error.unreachable == "whole" else max(parts)
        self._miss(part, what)
        if error.unreachable == "crowded":  # nobody asked, so nothing was learned
            self._leave_to_the_next(parts)
        else:
            self._learn(parts, error, took)

    def _refuse_while_out(self, parts: set[str], what: What | None, eager: bool) -> None:
        """Raise for a part that is out; let one caller at a time find out whether it still is."""
        with self._lock():
            now = self._now()
            out = {part: self._out[part] for part in parts if part in self._out}
            for part, outage in out.items():
                if now < outage.asked_until or (not eager and now < outage.until):
                    self._miss(part, what)
                    raise outage.why.again()
            for outage in out.values():
                outage.asked_until = now + PATIENCE

    def _miss(self, part: str, what: What | None) -> None:
        if what:
            with self._lock():
                self._missed.setdefault(part, Missed(self._now())).number[what] += 1

    def _tell_what_was_missed(self, parts: set[str]) -> None:
        """Say that a part of the store is back; once a minute at most, if it comes and goes."""
        for part in parts:
            with self._lock():
                now = self._now()
                if now < self._next_news.get(part, 0.0) or part not in self._missed:
                    continue
                self._next_news[part] = now + INTERVAL
                missed = self._missed.pop(part)
            where = f"The part {part} of the store" if part else "The store"
            text = "%s is back. In %.0f s, %d messages were not kept, and %d votes refused."
            number = missed.number["messages"], missed.number["votes"]
            self._complaints.tell(text, where, now - missed.since, *number)

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
                until = self._now() + max(PAUSE, took)
                why = error.again()  # without a traceback, which would keep the request alive
                self._out |= {part: Outage(why, until) for part in out or {WHOLE}}
