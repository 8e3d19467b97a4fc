"""The metrics of this process, kept until the agent can take them.

The agent drops a metric as long as it has no session, as in the first seconds of a process. It also
takes microseconds for each value, and no request should wait for that. So the values are added up
here, and the agent gets the sums before each harvest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import newrelic.agent

from ..per_process import PerProcess, new_reentrant_lock

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
        # Reentrant, because the garbage collector may end a stream in here.
        self._lock = PerProcess(new_reentrant_lock)
        self._sums: PerProcess[dict[str, Sum]] = PerProcess(dict)

    def add(self, name: str, value: float, times: int = 1) -> None:
        """Record a value, `times` times."""
        with self._lock():
            sums = self._sums()
            known = sums.get(name) or sums.setdefault(name, Sum(0, 0, value, value, 0))
            known.count += times
            known.total += times * value
            known.min = min(known.min, value)
            known.max = max(known.max, value)
            known.sum_of_squares += times * value * value

    def hand_over(self) -> None:
        """Give the agent the sums, if it has a session."""
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
"""Those of this process, which has one agent."""
