"""The metrics of this process, kept until the agent can take them.

The agent drops a metric as long as it has no session, as in the first seconds of a process. It also
takes microseconds for each value, and no request should wait for that. So the values are added up
here, and the agent gets the sums before each harvest.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

import newrelic.agent

from ..per_process import PerProcess

PREFIX = "Custom/Feedback/"


@dataclass
class Sum:
    """The sums of the values of one metric, in the form that the agent takes."""

    count: int
    total: float
    min: float
    max: float
    sum_of_squares: float


class Metrics:
    """The metrics of this process. A forked child does not report those of its parent."""

    def __init__(self) -> None:
        self._lock = PerProcess(reentrant=True)  # the garbage collector may end a stream here
        self._pid = os.getpid()
        self._kept: dict[str, Sum] = {}

    def add(self, name: str, value: float, times: int = 1) -> None:
        """Record a value, `times` times."""
        with self._lock():
            self._leave_parents()
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = Sum(0, 0, value, value, 0)
            kept.count += times
            kept.total += times * value
            kept.min = min(kept.min, value)
            kept.max = max(kept.max, value)
            kept.sum_of_squares += times * value * value

    def _leave_parents(self) -> None:
        if self._pid != os.getpid():
            self._pid, self._kept = os.getpid(), {}

    def hand_over(self) -> None:
        """Give the agent the sums, if it has a session."""
        application = newrelic.agent.application(activate=False)
        if application is None or not application.active:
            return
        with self._lock():
            self._leave_parents()
            kept, self._kept = self._kept, {}
        for name, values in kept.items():
            application.record_custom_metric(PREFIX + name, asdict(values))


METRICS = Metrics()
"""Those of this process, which has one agent."""
