"""The agent's reservoir of events: that no vote in it is sampled away, or discarded with it."""

from __future__ import annotations

import json
import math
import time
import zlib
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from .errors import AgentNotRecording
from .locks import OfProcess
from .logs import log

OUTRANKS = 10.0
"""Added to a vote's sampling priority: the agent's own are at most 2 (`api/transaction.py`)."""

ENVELOPE = 100
"""Bytes that an event adds to its vote: 82 were measured, compressed at the fastest level."""


class Load(NamedTuple):
    """Votes, and bytes of all events: no less than the agent sends."""

    votes: int
    size: int

    def plus(self, *others: Load) -> Load:
        """Return the sum."""
        votes, size = self
        for other in others:
            votes += other.votes
            size += other.size
        return Load(votes, size)


NOTHING = Load(0, 0)


class Reservoir:
    """Sees to it that the votes of one harvest are all sent.

    Between two harvests a process keeps a limited number of custom events, the agent's own of LLM
    calls included, and samples the rest away by priority. So votes outrank all others, and none is
    taken when the votes alone fill the reservoir, those included that are being sent: they come
    back if that fails. A harvest that is too large is discarded whole. So none is taken when half
    of that is reached, or where the last one was nearly too large. A transaction hands its events
    over when it ends, and keeps no more of them itself. Where all this lies is no public knowledge:
    where it cannot be found, votes are counted by the clock instead, and the others may displace
    them.
    """

    def __init__(self) -> None:
        self._lock = OfProcess()
        self._held: Any = None
        self._load = self._last = NOTHING
        self._sending: WeakKeyDictionary[Any, Load] = WeakKeyDictionary()  # by reservoir
        self._admitted: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # size, by transaction
        self._under_way: WeakKeyDictionary[Any, Load] = WeakKeyDictionary()  # by transaction
        self._counted = -math.inf, 0
        self._lost_sight = False

    def check(self, transaction: Any, size: int) -> None:
        """Reserve room for one more vote of `size` bytes, or raise `AgentNotRecording`.

        A vote that does not come leaves its room to the next, or until the transaction has ended.
        """
        settings = transaction.settings
        config, largest = settings.event_harvest_config, settings.max_payload_size_in_bytes
        capacity, period = config.harvest_limits.custom_event_data, config.report_period_ms / 1000
        reservoir, own_is_full = self._find(transaction)
        with self._lock():
            if reservoir is not None:
                self._look_at(reservoir, largest)
                room = capacity - min(capacity // 2, max(64, capacity // 20))
            else:
                if (now := time.monotonic()) - self._counted[0] > period:
                    self._load, self._counted = NOTHING, (now, 0)
                room = capacity // 2  # any harvest spans parts of two of our periods
            self._admitted.pop(transaction, None)
            if not (fits := self._fits(size, room, largest)):
                for each in [each for each in self._admitted if not each.settings]:
                    del self._admitted[each]
                fits = self._fits(size, room, largest)
            if fits and not own_is_full:
                self._admitted[transaction] = size + ENVELOPE
                return
        raise AgentNotRecording(
            "The agent has taken as many votes as it can send with the next harvest "
            f"({capacity} custom events and {largest} bytes a process): raise "
            "event_harvest_config.harvest_limits.custom_event_data, add processes, "
            "or set ai_monitoring.record_content.enabled = false.",
            retry_after=math.ceil(period),
        )

    def keep(self, transaction: Any) -> None:
        """Let the vote that the transaction recorded last outrank all that is not a vote."""
        with self._lock(), suppress(AttributeError, IndexError, TypeError, ValueError):
            vote = Load(1, self._admitted.pop(transaction, ENVELOPE))
            self._load = self._load.plus(vote)
            self._under_way[transaction] = self._under_way.get(transaction, NOTHING).plus(vote)
            recorded = transaction._custom_events
            if not recorded.heap:
                priority, *rest = recorded.pq[-1]
                recorded.pq[-1] = (priority + OUTRANKS, *rest)

    def _fits(self, size: int, room: int, largest: int) -> bool:
        """Whether one more vote does; half of the bytes are left for what else comes meanwhile."""
        load = self._load.plus(*self._sending.values()) if self._sending else self._load
        held = load.size + sum(self._admitted.values())
        return (
            load.votes + len(self._admitted) < room
            and held + size + ENVELOPE <= largest // 2
            and self._last.size <= largest * 0.8
        )

    def _look_at(self, reservoir: Any, largest: int) -> None:
        """Count again, which takes a while, once a second and where one was sent or came back."""
        if reservoir is not self._held:
            if self._held is not None:
                self._last = self._sending[self._held] = load_of(self._held, largest)
            self._held, self._counted = reservoir, (-math.inf, 0)
        now, sending = time.monotonic(), len(self._sending)
        if now - self._counted[0] > 1 or sending != self._counted[1]:
            under_way = [load for each, load in self._under_way.items() if each.settings]
            self._load = load_of(reservoir, largest).plus(*under_way)
            self._counted = now, sending

    def _find(self, transaction: Any) -> tuple[Any, bool]:
        """Return the reservoir, or `None`, and whether the transaction can keep no more itself."""
        try:
            application = transaction.application
            core = application._agent.application(application.name)
            reservoir = core._stats_engine.custom_events
            len(reservoir.pq)
            ref(reservoir)
            own = transaction._custom_events
            own_is_full = own.num_seen + 1 >= own.capacity  # the one that fills it can be dropped
        except (AttributeError, TypeError):
            if not self._lost_sight:
                self._lost_sight = True
                log.warning(
                    "This version of the agent does not show how many events it holds: "
                    "votes are limited by the clock, and other custom events may displace them."
                )
            return None, False
        return reservoir, own_is_full


def load_of(reservoir: Any, largest: int) -> Load:
    """Measure a reservoir: compressed, as the agent does, where it may come near the `largest`."""
    entries = list(reservoir.pq)
    text = json.dumps([sample for *_, sample in entries], default=str).encode()
    size = len(text) if len(text) < largest // 4 else len(zlib.compress(text, 1))
    return Load(sum(priority >= OUTRANKS for priority, *_ in entries), size)
