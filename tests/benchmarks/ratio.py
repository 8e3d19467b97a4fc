"""What benchmarks tell: each figure with its spread, and how often to measure for that."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles, of a ratio or of anything else."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Ratio:
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        median, low, high = (format(each, spec) for each in (self.median, self.low, self.high))
        return f"{median} ({low} to {high})"

    def __str__(self) -> str:
        return format(self)


def ratio_of(some: Sequence[float], others: Sequence[float]) -> Ratio:
    """Of what was measured in the same rounds, so that what else the machine did falls on both."""
    return Ratio.of(a / b for a, b in zip(some, others, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True)
class Effort:
    """How long to measure, in seconds, and which share of all the messages there are to be."""

    seconds: float
    share: float

    @property
    def is_quick(self) -> bool:
        return self.share <= QUICK

    def size(self, whole: int) -> int:
        return max(int(whole * self.share), 20)

    def of(self, part: float) -> Effort:
        return Effort(self.seconds * part, self.share)

    def rounds(self) -> Iterator[int]:
        """Number the rounds: as many as there is time for, and enough for quartiles."""
        least, deadline, number = 2 if self.is_quick else 5, time.monotonic() + self.seconds, 0
        while number < least or time.monotonic() < deadline:
            yield number
            number += 1


QUICK = 0.001
"""The share of a run that only shows that all of it works."""
