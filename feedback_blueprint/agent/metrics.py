"""What this process counts and measures, kept until the agent can take it.

The agent drops a metric while it has no session, as in the first seconds of a process. And it takes
microseconds to take one, which nobody has to wait for. So what there is of a metric is added up
here, and handed over before each harvest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import newrelic.agent

from ..per_process import PerProcess, new_reentrant_lock

PREFIX = "Custom/Feedback/"


@dataclass
class Sum:
    """Values of one metric, as the agent takes them together."""

    count: int
    total: float
    min: float
    max: float
    sum_of_squares: float


class Metrics:
    """Metrics of this process; what a parent kept is not its child's to tell."""

    def __init__(self) -> None:
        # Reentrant, because the garbage collector may end a stream in here.
        self._lock = PerProcess(new_reentrant_lock)
        self._sums: PerProcess[dict[str, Sum]] = PerProcess(dict)

    def add(self, name: str, value: float, times: int = 1) -> None:
        """Record a value, so many times."""
        with self._lock():
            known = self._sums().setdefault(name, Sum(0, 0, value, value, 0))
            known.count += times
            known.total += times * value
            known.min = min(known.min, value)
            known.max = max(known.max, value)
            known.sum_of_squares += times * value * value

    def hand_over(self) -> None:
        """Give the agent what is kept, if it has a session."""
        application = newrelic.agent.application(activate=False)
        if application is None or not application.active:
            return
        with self._lock():
            sums = self._sums()
            handed_over = dict(sums)
            sums.clear()
        for name, values in handed_over.items():
            application.record_custom_metric(PREFIX + name, asdict(values))


METRICS = Metrics()
"""The one of this process, as it has one agent."""
