"""The circuit breaker: how long a call to a store may take, and whether to call it at all.

A circuit is closed while a store answers. It opens if the store cannot be reached: calls then fail
at once. It is half-open while one caller tries the store again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

from ..errors import StoreUnavailable
from ..logs import INTERVAL, ThrottledLog, warn
from ..model import DEFAULT_VOTE_TTL, Message, StoredVote, VoteRequest, VoteResult
from ..per_process import PerProcess, new_reentrant_lock
from .base import Store
from .deadline import DEADLINE, TIMEOUTS_PER_CALL, Deadline

T = TypeVar("T")

WHOLE_STORE = ""
"""The node that all keys are on: if it is down, nothing can be reached."""

MAX_TRIAL = 10.0
"""Seconds after which the breaker takes a caller that tries the store for dead."""

MIN_PAUSE = 1.0
"""Seconds between two messages that try a store that is down; more if a try takes longer."""

FORGOTTEN = 60.0
"""Seconds after which a node that nobody asks again does not count: a cluster may replace it."""

SLOW_REMEDY = "Check its load, its disk and the network to it, or raise FEEDBACK_STORE_TIMEOUT."
"""What to do about a store that is slow."""

Kind = Literal["messages", "votes"]
"""What a call is to keep."""


def is_slow(seconds: float, timeout: float) -> bool:
    """Whether a call took so long that such calls will soon fail."""
    return seconds > timeout / 2


@dataclass
class OpenCircuit:
    """A node that could not be reached; it is half-open until `trial_ends`."""

    error: StoreUnavailable
    opened_at: float
    pause: float
    trial_ends: float = 0.0


@dataclass
class Missed:
    """How much was not kept on a node, and since when."""

    since: float
    number: Counter[Kind] = field(default_factory=Counter)


class CircuitBreaker:
    """Guards a store, and leaves it alone once it could not be reached.

    A call has two `timeout`s, in seconds, for all that it does, as far as a call can be stopped.
    The breaker tells `measure` the seconds of each call. It logs a call that takes more than
    half a timeout. When a store keeps things again, it logs how much the store did not keep before.

    A call to what cannot be reached costs its caller a timeout or two. After the first such call,
    only one message a second tries again, because an answer waits behind it. If a try takes longer
    than a second, as with a slow resolver, the pause is as long. It grows with the number of nodes
    that are down: otherwise each answer of a frozen cluster would wait for another node. A vote or
    a read tries at any time, if nobody else does: the store takes votes as soon as it is back. A
    store that answers with an error is not down.
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
        # Reentrant, because the garbage collector may end a stream in here, which keeps its text.
        self._lock = PerProcess(new_reentrant_lock)
        self._open: dict[str, OpenCircuit] = {}
        self._missed: dict[str, Missed] = {}
        self._next_report: dict[str, float] = {}

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message."""
        return self._call(
            lambda: self._store.stash(key, message, ttl, may_replace=may_replace),
            key,
            kind="messages",
        )

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message."""
        self._call(lambda: self._store.amend(key, message), key)

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Cast a vote."""
        return self._call(
            lambda: self._store.vote(key, raters, vote_request), key, kind="votes", pauses=False
        )

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Read messages and votes."""
        return self._call(lambda: self._store.read(keys, raters, ttl), *keys, pauses=False)

    def _call(
        self, call: Callable[[], T], *keys: str, kind: Kind | None = None, pauses: bool = True
    ) -> T:
        """Let a call through to the store, or refuse it at once; learn from how it ends."""
        nodes = {WHOLE_STORE, *map(self._store.node_of, keys)}
        if self._open:
            self._refuse_if_open(nodes, kind, pauses)
        began = self._now()
        before = DEADLINE.set(Deadline(TIMEOUTS_PER_CALL * self._timeout))
        try:
            answer = call()
        except StoreUnavailable as error:
            self._fail(nodes, kind, error, self._now() - began)
            raise
        except BaseException:  # a gevent.Timeout, or a bug of ours
            self._end_trial(nodes)
            raise
        finally:
            DEADLINE.reset(before)
            took = self._now() - began
            self._measure(took)
        if is_slow(took, self._timeout):
            text = "The store is slow: a call took %.2f s, and fails at %.2f s. %s"
            self._log.warn("slow", text, took, TIMEOUTS_PER_CALL * self._timeout, SLOW_REMEDY)
        if self._open:
            self._close(nodes)
        if self._missed and kind:
            self._log_missed(nodes)
        return answer

    def _refuse_if_open(self, nodes: set[str], kind: Kind | None, pauses: bool) -> None:
        """Raise for a node that is down; let one caller at a time try whether it still is."""
        with self._lock():
            now = self._now()
            circuits = {node: self._open[node] for node in nodes if node in self._open}
            # If many nodes are down, messages try each less often.
            turns = sum(now < circuit.opened_at + FORGOTTEN for circuit in self._open.values())
            for node, circuit in circuits.items():
                next_try = circuit.opened_at + turns * circuit.pause if pauses else now
                if now < max(circuit.trial_ends, next_try):
                    self._miss(node, kind)
                    raise circuit.error.again()
            for circuit in circuits.values():
                circuit.trial_ends = now + MAX_TRIAL

    def _fail(
        self, nodes: set[str], kind: Kind | None, error: StoreUnavailable, took: float
    ) -> None:
        self._log.warn(error.remedy, "Feedback cannot be kept. %s", error, cause=error.why)
        # WHOLE_STORE is among the nodes, and sorts before the name of any other.
        self._miss(WHOLE_STORE if error.unreachable == "store" else max(nodes), kind)
        if error.unreachable == "turn":  # nobody asked the store, so we learned nothing about it
            self._end_trial(nodes)
            return
        with self._lock():
            self._close(nodes)
            if error.unreachable:
                down = nodes - {WHOLE_STORE} if error.unreachable == "node" else set[str]()
                why = error.again()  # without a traceback, which would keep the request alive
                now, pause = self._now(), max(MIN_PAUSE, took)
                for node in down or {WHOLE_STORE}:
                    self._open[node] = OpenCircuit(why, now, pause)

    def _close(self, nodes: set[str]) -> None:
        with self._lock():
            for node in nodes:
                self._open.pop(node, None)

    def _end_trial(self, nodes: set[str]) -> None:
        with self._lock():
            for node in nodes & self._open.keys():
                self._open[node].trial_ends = 0.0

    def _miss(self, node: str, kind: Kind | None) -> None:
        if kind:
            with self._lock():
                self._missed.setdefault(node, Missed(self._now())).number[kind] += 1

    def _log_missed(self, nodes: set[str]) -> None:
        """Log that a node is back; once a minute at most, if it comes and goes."""
        for node in nodes:
            with self._lock():
                now = self._now()
                if now < self._next_report.get(node, 0.0) or node not in self._missed:
                    continue
                self._next_report[node] = now + INTERVAL
                missed = self._missed.pop(node)
            where = f"Node {node} of the store" if node else "The store"
            text = "%s is back. In %.0f s, %d messages were not kept, and %d votes refused."
            number = missed.number["messages"], missed.number["votes"]
            warn(text, where, now - missed.since, *number)
