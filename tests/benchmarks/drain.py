"""How long a backlog of undelivered votes takes to drain, and what that and each vote cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collector import Collector, Event
from filling import (
    HARVEST,
    OUTBOX,
    PATIENCE,
    WEEK,
    cast,
    new_key,
    new_message,
    send,
    stash,
    vote,
)
from gunicorn_server import Gunicorn
from processes import wait_until
from ratio import Effort, Ratio, percentile, ratio_of
from redis_server import RedisServer
from sockets import HERE, Load, Slice, slice_of_work

from feedback_blueprint.stores import RedisStore

PERIOD = 5
CASES = ((300, 1, 1_800), (833, 1, 5_000), (833, 4, 100_000))
"""Custom events of a process in five seconds, processes, votes of the backlog."""


# What Redis does


def cpu(server: RedisServer) -> float:
    used = server.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"]) * 1e6


def costs(
    server: RedisServer, votes: int, times: int, *, by_another: bool
) -> tuple[Ratio, Ratio, Ratio]:
    """Microseconds of Redis's CPU for a vote, for its delivery, and the part that this is."""
    store, spent = RedisStore.from_url(server.url, PATIENCE), []
    for _ in range(times):
        keys = [new_key() for _ in range(votes)]
        for key in keys:
            store.stash(key, new_message(), WEEK)
        begin = cpu(server)
        marks = [cast(store, key, 0 if by_another else 60) for key in keys]
        voted = cpu(server)
        for first in range(0, votes, HARVEST):
            if by_another:
                store.unmark([each.mark for each in store.take(OUTBOX, 60, HARVEST)])
            else:
                store.unmark(marks[first : first + HARVEST])
                store.take(OUTBOX, 60, HARVEST)
        spent.append(((voted - begin) / votes, (cpu(server) - voted) / votes))
    both = [vote + delivery for vote, delivery in spent]
    for_votes, for_deliveries = zip(*spent, strict=True)
    return Ratio.of(for_votes), Ratio.of(for_deliveries), ratio_of(for_deliveries, both)


# How long it takes


class Arrivals(Collector):
    """A collector that knows how many votes arrived when, in seconds."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seconds: list[float] = []

    def receive(self, events: list[Event]) -> None:
        self.seconds += [time.monotonic()] * len(events)
        super().receive(events)


def milliseconds(slices: list[Slice], percent: int) -> Ratio:
    return Ratio.of(percentile(each.vote, percent) * 1000 for each in slices)


def drained(
    directory: Path, server: RedisServer, limit: int, workers: int, votes: int, period: int
) -> dict[str, Any]:
    """Start an app on a store with a backlog; seconds until New Relic has all of it.

    Meanwhile ten users a second chat and vote, one after the other, until little is left.
    """
    url, keys = server.fresh_url(), [new_key() for _ in range(votes)]
    directory.mkdir()
    limits = {
        "report_period_ms": period * 1000,
        "harvest_limits": {"custom_event_data": limit},
    }
    send(server, url, keys, stash())
    send(server, url, keys, vote(server))
    with (
        server.client(url) as client,
        Load() as load,
        Arrivals(directory, {"event_harvest_config": limits}) as collector,
    ):
        env = collector.environ() | {"BENCHMARK_REDIS_URL": url, "BENCHMARK_FILE": "unused"}
        env["FLASK_FEEDBACK_STORE_TIMEOUT"] = str(PATIENCE)
        options = [f"--pythonpath={HERE}"]
        app = Gunicorn("benchmarked:ours", directory, env=env, workers=workers, options=options)
        meanwhile: list[Slice] = []
        with app:
            begin = time.monotonic()
            while client.zcard(OUTBOX) > limit * workers:
                meanwhile.append(slice_of_work(load, app.port, 10, 1))
                time.sleep(1)  # so that those ten are those of a second
            wait_until(lambda: not client.zcard(OUTBOX), "the backlog to drain", 600)
            took = time.monotonic() - begin
            after = [slice_of_work(load, app.port, 10, 1) for _ in meanwhile]
        events = collector.events()
        windows = [int((at - begin) / period + 0.5) for at in collector.seconds]
    known = {(each["feedback_id"], each["revision"]) for each in events}
    rates = [windows.count(window) / period for window in range(1, max(windows))]
    found: dict[str, Any] = {
        "limit": limit * 60 // period,
        "workers": workers,
        "votes": votes,
        "took": took,
        "a second": Ratio.of(rates) if len(rates) > 1 else votes / took,
        "copies": len(events) - len(known),
    }
    if len(meanwhile) > 5:
        for name, slices in (("meanwhile", meanwhile), ("after", after)):
            found |= {f"{name} p{percent}": milliseconds(slices, percent) for percent in (50, 99)}
    return found


# The section


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cases = CASES[:1] if effort.is_quick else CASES
    period = 1 if effort.is_quick else PERIOD
    times = 2 if effort.is_quick else 5
    with RedisServer(directory / "redis") as server:
        costs(server, HARVEST, 2, by_another=True)  # to warm up
        found["CPU"] = {
            what: costs(server, effort.size(10_000), times, by_another=by_another)
            for what, by_another in (("by its own process", False), ("by another, later", True))
        }
        found["backlogs"] = [
            drained(directory / str(number), server, limit, workers, effort.size(votes), period)
            for number, (limit, workers, votes) in enumerate(cases)
        ]
    return found


def render(found: dict[str, Any]) -> Iterator[str]:
    yield "| events a minute and process | processes | backlog | drained in | a second | copies |"
    yield "|---|---|---|---|---|---|"
    for each in found["backlogs"]:
        yield (
            f"| {each['limit']:,} | {each['workers']} | {each['votes']:,} | {each['took']:.0f} s "
            f"| {each['a second']:.0f} | {each['copies']} |"
        )
    yield ""
    first, last = found["backlogs"][0], found["backlogs"][-1]
    if first is not last:
        rates = (each["votes"] / each["took"] for each in (last, first))
        yield (
            f"- {last['workers']} processes at {last['limit']:,} events deliver "
            f"{next(rates) / next(rates):.1f} times as fast as {first['workers']} at "
            f"{first['limit']:,}."
        )
        yield ""
    if "meanwhile p50" in last:
        yield "| a vote over a socket, ms | p50 | p99 |"
        yield "|---|---|---|"
        for name, label in (
            ("meanwhile", f"while the {last['votes']:,} drain"),
            ("after", "afterwards, same app"),
        ):
            cells = (f"{last[f'{name} p{percent}']:.1f}" for percent in (50, 99))
            yield f"| {label} | {' | '.join(cells)} |"
        yield ""
    yield "| µs of Redis's CPU | the vote | its delivery | share of the delivery |"
    yield "|---|---|---|---|"
    for what, (cost, delivery, part) in found["CPU"].items():
        yield f"| delivered {what} | {cost:.0f} | {delivery:.1f} | {part:.2f} |"
