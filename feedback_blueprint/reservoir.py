"""The agent's reservoir of events: that no vote in it is sampled away."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import Any

from .errors import AgentNotRecording
from .logs import log

OUTRANKS = 10.0
"""Added to a vote's sampling priority: the agent's own are at most 2 (`api/transaction.py`)."""


class Reservoir:
    """Sees to it that the votes of one harvest are all sent.

    Between two harvests a process keeps a limited number of custom events, the agent's own of LLM
    calls included, and samples the rest away by priority. So votes outrank all others, and none is
    taken when the votes alone fill the reservoir. Where it lies is no public knowledge: where it
    cannot be found, votes are counted by the clock instead, and the others may displace them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Any = None
        self._votes = 0
        self._counted_at = -math.inf
        self._lost_sight = False

    def check(self, transaction: Any) -> None:
        """Raise `AgentNotRecording` if there is no room for one more vote."""
        config = transaction.settings.event_harvest_config
        capacity, period = config.harvest_limits.custom_event_data, config.report_period_ms / 1000
        reservoir = self._find(transaction)
        with self._lock:
            now = time.monotonic()
            if reservoir is not None:
                # Counting takes a while, so only once a second; a failed harvest comes back.
                if reservoir is not self._held or now - self._counted_at > 1:
                    self._votes = sum(sample[0] >= OUTRANKS for sample in list(reservoir.pq))
                    self._held, self._counted_at = reservoir, now
                room = capacity - min(capacity // 2, max(64, capacity // 20))
            else:
                if now - self._counted_at > period:
                    self._votes, self._counted_at = 0, now
                room = capacity // 2  # any harvest spans parts of two of our periods
            if self._votes < room:
                return
        raise AgentNotRecording(
            "The agent has taken as many votes as it can send with the next harvest "
            f"({capacity} custom events a process): raise "
            "event_harvest_config.harvest_limits.custom_event_data, or add processes.",
            retry_after=max(1, math.ceil(period)),
        )

    def keep(self, transaction: Any) -> None:
        """Let the vote that the transaction recorded last outrank all that is not a vote."""
        with self._lock:
            self._votes += 1
        with suppress(AttributeError, IndexError, TypeError, ValueError):
            recorded = transaction._custom_events
            if not recorded.heap:
                priority, *rest = recorded.pq[-1]
                recorded.pq[-1] = (priority + OUTRANKS, *rest)

    def _find(self, transaction: Any) -> Any:
        try:
            application = transaction.application
            core = application._agent.application(application.name)
            reservoir = core._stats_engine.custom_events
            len(reservoir.pq)
        except (AttributeError, TypeError):
            if not self._lost_sight:
                self._lost_sight = True
                log.warning(
                    "This version of the agent does not show how many events it holds: "
                    "votes are limited by the clock, and other custom events may displace them."
                )
            return None
        return reservoir
