"""What a million and a billion messages a day take, computed from what other sections measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEPT, VOTE_KEPT = 7, 30
RATED = 0.1
PEAK = 5
SHARD = 24e9
OF_VOTES = 0.75

NEEDS = ("growth", "memory", "drain")

ASSUMED = (
    f"a message is kept for {KEPT} days and a rated one for {VOTE_KEPT}; no rater and no context; "
    f"one message in {1 / RATED:.0f} is rated, once, with a comment of 18 letters and a category; "
    f"the peak is {PEAK} times the mean; a shard is filled to {SHARD / 1e9:.0f} GB; votes have "
    f"{OF_VOTES:.0%} of what the agent sends"
)


@dataclass(frozen=True)
class Measured:
    """Bytes of a message, unrated, rated and undelivered; what a message and a vote give to do."""

    unrated: float
    rated: float
    undelivered: float
    stash: Mapping[str, float]
    vote: Mapping[str, float]

    @classmethod
    def of(cls, sections: Mapping[str, Any]) -> Measured:
        states = next(iter(sections["memory"]["weights"].values()))
        costs = sections["growth"]["costs"]
        stash, vote = (
            {name: each.median for name, each in costs[what].items()} for what in ("stash", "vote")
        )
        weights = (states[state]["bytes"].median for state in ("unrated", "rated", "undelivered"))
        return cls(*weights, stash, vote)


def amount(value: float, unit: str) -> str:
    """Two digits, and a prefix of thousands."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{float(f'{value / size:.2g}'):g} {prefix}{unit}"
    return f"{float(f'{value:.2g}'):g} {unit}"


def column(messages: float, measured: Measured) -> dict[str, str]:
    """What so many messages a day take."""
    unrated, rated = messages * (1 - RATED) * KEPT, messages * RATED * VOTE_KEPT
    memory = unrated * measured.unrated + rated * measured.rated
    mean = messages / 24 / 3600
    peak, votes = mean * PEAK, mean * PEAK * RATED

    def both(what: str, stashes: float, cast: float) -> float:
        return stashes * measured.stash[what] + cast * measured.vote[what]

    network = both("bytes in", peak, votes) + both("bytes out", peak, votes)
    cpu = both("CPU", peak, votes) / 1e6
    file = both("append-only file", messages, messages * RATED)
    shards = math.ceil(memory / SHARD)
    hour = votes * 3600
    return {
        "messages kept": f"{float(f'{unrated + rated:.2g}'):,.0f}",
        "memory": amount(memory, "B"),
        "shards, and as many replicas": f"{shards:,}",
        "messages a second, mean and peak": f"{mean:,.0f}, {peak:,.0f}",
        "votes a second at the peak": f"{votes:,.0f}",
        "Redis's CPU at the peak, all shards": f"{cpu:.2g} cores",
        "of a shard's one core": f"{cpu / shards:.1%}",
        "network to Redis at the peak, without TCP's own": f"{amount(network, 'B')}/s",
        "append-only file a day, before it is rewritten": amount(file, "B"),
        "processes that deliver these votes, at 3,600 events a minute each": _processes(votes, 300),
        "the same at 10,000 events a minute": _processes(votes, 833),
        "memory of an hour's votes at the peak without New Relic": amount(
            hour * (measured.undelivered - measured.rated), "B"
        ),
    }


def _processes(votes: float, limit: int) -> str:
    return f"{math.ceil(votes / (int(limit * OF_VOTES) / 5)):,}"


def render(sections: Mapping[str, Any]) -> Iterator[str]:
    measured = Measured.of(sections)
    small, large = (column(messages, measured) for messages in (1e6, 1e9))
    yield (
        f"**Assumed**: {ASSUMED}. **Measured**: {measured.unrated:.0f} bytes a message and "
        f"{measured.rated:.0f} a rated one, {measured.undelivered - measured.rated:.0f} more until "
        f"its vote is delivered; over the wire "
        f"{measured.stash['bytes in'] + measured.stash['bytes out']:.0f} bytes a message and "
        f"{measured.vote['bytes in'] + measured.vote['bytes out']:.0f} a vote with its delivery; "
        f"{measured.stash['CPU']:.0f} µs of Redis's CPU a message and {measured.vote['CPU']:.0f} "
        f"a vote."
    )
    yield ""
    yield "| | a million a day | a billion a day |"
    yield "|---|---|---|"
    for what, cell in small.items():
        yield f"| {what} | {cell} | {large[what]} |"
