"""The one place that decides how long a store may take, that it is out, and when to ask again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

from ..errors import StoreUnavailable
from ..logs import INTERVAL, ThrottledLog
from ..model import DEFAULT_VOTE_TTL, Message, StoredVote, VoteRequest, VoteResult
from ..per_process import PerProcess
from .base import Store
from .deadline import DEADLINE, Deadline

T = TypeVar("T")

WHOLE_STORE = ""
"""The part that all keys are in: where it is out, nothing can be reached."""

MAX_TRIAL = 10.0
"""Seconds after which a caller that was trying again is taken for dead."""

PAUSE = 1.0
"""Seconds between two messages that try to reach a store that is out, if a try takes no longer."""

FORGOTTEN = 60.0
"""Seconds after which what nobody has asked since has nothing to do with how often others are."""

TRIES = 2
"""Timeouts that a call may take in all, whatever it does."""

FASTER = "Check its load, its disk and the network to it, or raise FEEDBACK_STORE_TIMEOUT."
"""What to do about a store that is slow."""

What = Literal["messages", "votes"]


def is_slow(seconds: float, timeout: float) -> bool:
    """Whether a call took so long that it would soon fail."""
    return seconds > timeout / 2


@dataclass
class OpenCircuit:
    """A part of the store that could not be reached, since when a caller may be trying again."""

    why: StoreUnavailable
    since: float
    pause: float
    asked_until: float = 0.0


@dataclass
class Missed:
    """What was not kept of a part of the store, and since when."""

    since: float
    number: Counter[What] = field(default_factory=Counter)


class CircuitBreaker:
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
        log: ThrottledLog,
        timeout: float,
        measure: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._log = log
        self._timeout = timeout
        self._measure = measure
        self._now = clock
        # A stream that the garbage collector ends in here keeps its text in this very thread.
        self._lock = PerProcess(reentrant=True)
        self._out: dict[str, OpenCircuit] = {}
        self._missed: dict[str, Missed] = {}
        self._next_news: dict[str, float] = {}

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message."""
        return self._ask(
            lambda: self._store.stash(key, message, ttl, may_replace=may_replace),
            key,
            what="messages",
        )

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message."""
        self._ask(lambda: self._store.amend(key, message), key)

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Cast a vote."""
        return self._ask(
            lambda: self._store.vote(key, raters, vote_request), key, what="votes", eager=True
        )

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Read messages and votes."""
        return self._ask(lambda: self._store.read(keys, raters, ttl), *keys, eager=True)

    def _ask(
        self, call: Callable[[], T], *keys: str, what: What | None = None, eager: bool = False
    ) -> T:
        """Let a call through to the store, or refuse it at once; learn from how it ends."""
        nodes = {WHOLE_STORE, *map(self._store.node_of, keys)}
        if self._out:
            self._refuse_while_out(nodes, what, eager)
        begin = self._now()
        before = DEADLINE.set(Deadline(TRIES * self._timeout))
        try:
            answer = call()
        except StoreUnavailable as error:
            self._fail(nodes, what, error, self._now() - begin)
            raise
        except BaseException:  # a timeout of gevent's, or a defect
            self._leave_to_the_next(nodes)
            raise
        finally:
            DEADLINE.reset(before)
            took = self._now() - begin
            self._measure(took)
        if is_slow(took, self._timeout):
            text = "The store is slow: a call took %.2f s, and fails at %.2f s. %s"
            self._log.warn("slow", text, took, TRIES * self._timeout, FASTER)
        if self._out:
            self._learn(nodes, None)
        if self._missed and what:
            self._tell_what_was_missed(nodes)
        return answer

    def _fail(
        self, nodes: set[str], what: What | None, error: StoreUnavailable, took: float
    ) -> None:
        text = "Feedback cannot be kept. %s"
        self._log.warn(error.remedy, text, error, cause=error.why)
        node = WHOLE_STORE if error.unreachable == "store" else max(nodes)
        self._miss(node, what)
        if error.unreachable == "turn":  # nobody asked, so nothing was learned
            self._leave_to_the_next(nodes)
        else:
            self._learn(nodes, error, took)

    def _refuse_while_out(self, nodes: set[str], what: What | None, eager: bool) -> None:
        """Raise for a part that is out; let one caller at a time find out whether it still is."""
        with self._lock():
            now = self._now()
            out = {node: self._out[node] for node in nodes if node in self._out}
            # Where many are out, each is tried less often. One that a cluster has replaced is never
            # tried again.
            pauses = sum(now < outage.since + FORGOTTEN for outage in self._out.values())
            for node, outage in out.items():
                if now < outage.asked_until or (
                    not eager and now < outage.since + pauses * outage.pause
                ):
                    self._miss(node, what)
                    raise outage.why.again()
            for outage in out.values():
                outage.asked_until = now + MAX_TRIAL

    def _miss(self, node: str, what: What | None) -> None:
        if what:
            with self._lock():
                self._missed.setdefault(node, Missed(self._now())).number[what] += 1

    def _tell_what_was_missed(self, nodes: set[str]) -> None:
        """Say that a part of the store is back; once a minute at most, if it comes and goes."""
        for node in nodes:
            with self._lock():
                now = self._now()
                if now < self._next_news.get(node, 0.0) or node not in self._missed:
                    continue
                self._next_news[node] = now + INTERVAL
                missed = self._missed.pop(node)
            where = f"The part {node} of the store" if node else "The store"
            text = "%s is back. In %.0f s, %d messages were not kept, and %d votes refused."
            number = missed.number["messages"], missed.number["votes"]
            self._log.tell(text, where, now - missed.since, *number)

    def _leave_to_the_next(self, nodes: set[str]) -> None:
        with self._lock():
            for node in nodes & self._out.keys():
                self._out[node].asked_until = 0.0

    def _learn(self, nodes: set[str], error: StoreUnavailable | None, took: float = 0.0) -> None:
        with self._lock():
            for node in nodes:
                self._out.pop(node, None)
            if error and error.unreachable:
                out = nodes - {WHOLE_STORE} if error.unreachable == "node" else {WHOLE_STORE}
                why = error.again()  # without a traceback, which would keep the request alive
                now, pause = self._now(), max(PAUSE, took)
                self._out |= {node: OpenCircuit(why, now, pause) for node in out or {WHOLE_STORE}}
