"""The agent's reservoir of events: that no vote in it is sampled away."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from .errors import AgentNotRecording
from .locks import OfProcess
from .logs import log

OUTRANKS = 10.0
"""Added to a vote's sampling priority: the agent's own are at most 2 (`api/transaction.py`)."""


class Reservoir:
    """Sees to it that the votes of one harvest are all sent.

    Between two harvests a process keeps a limited number of custom events, the agent's own of LLM
    calls included, and samples the rest away by priority. So votes outrank all others, and none is
    taken when the votes alone fill the reservoir. A transaction hands its events over when it ends,
    and keeps no more of them itself. Where all this lies is no public knowledge: where it cannot be
    found, votes are counted by the clock instead, and the others may displace them.
    """

    def __init__(self) -> None:
        self._lock = OfProcess()
        self._held: Any = None
        self._votes = 0
        self._admitted: WeakSet[Any] = WeakSet()  # transactions, each with a vote to come
        self._under_way: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # by transaction
        self._counted_at = -math.inf
        self._lost_sight = False

    def check(self, transaction: Any) -> None:
        """Reserve room for one more vote, or raise `AgentNotRecording`.

        A vote that does not come leaves its room to the next, or until the transaction has ended.
        """
        config = transaction.settings.event_harvest_config
        capacity, period = config.harvest_limits.custom_event_data, config.report_period_ms / 1000
        reservoir, own_is_full = self._find(transaction)
        with self._lock():
            now = time.monotonic()
            if reservoir is not None:
                # Counting takes a while, so only once a second; a failed harvest comes back.
                if reservoir is not self._held or now - self._counted_at > 1:
                    self._votes = self._count(reservoir)
                    self._held, self._counted_at = reservoir, now
                room = capacity - min(capacity // 2, max(64, capacity // 20))
            else:
                if now - self._counted_at > period:
                    self._votes, self._counted_at = 0, now
                room = capacity // 2  # any harvest spans parts of two of our periods
            self._admitted.discard(transaction)
            if self._votes + len(self._admitted) >= room:
                self._admitted = WeakSet(each for each in self._admitted if each.settings)
            if self._votes + len(self._admitted) < room and not own_is_full:
                self._admitted.add(transaction)
                return
        raise AgentNotRecording(
            "The agent has taken as many votes as it can send with the next harvest "
            f"({capacity} custom events a process): raise "
            "event_harvest_config.harvest_limits.custom_event_data, or add processes.",
            retry_after=max(1, math.ceil(period)),
        )

    def keep(self, transaction: Any) -> None:
        """Let the vote that the transaction recorded last outrank all that is not a vote."""
        with self._lock(), suppress(AttributeError, IndexError, TypeError, ValueError):
            self._votes += 1
            self._admitted.discard(transaction)
            self._under_way[transaction] = self._under_way.get(transaction, 0) + 1
            recorded = transaction._custom_events
            if not recorded.heap:
                priority, *rest = recorded.pq[-1]
                recorded.pq[-1] = (priority + OUTRANKS, *rest)

    def _count(self, reservoir: Any) -> int:
        handed_over = [sample for sample in list(reservoir.pq) if sample[0] >= OUTRANKS]
        under_way = [votes for each, votes in self._under_way.items() if each.settings]
        return len(handed_over) + sum(under_way)

    def _find(self, transaction: Any) -> tuple[Any, bool]:
        """Return the reservoir, or `None`, and whether the transaction can keep no more itself."""
        try:
            application = transaction.application
            core = application._agent.application(application.name)
            reservoir = core._stats_engine.custom_events
            len(reservoir.pq)
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
