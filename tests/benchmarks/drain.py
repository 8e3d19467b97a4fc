"""What a vote costs Redis until it is delivered, and how long a backlog takes to drain.

The backlog is what a real app leaves under gunicorn while a collector refuses all custom events:
a tenth of an hour's votes at six a second. `--help` says how to run it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from arrival import assert_all_arrive, chat_and_vote
from collector import Collector
from filling import WEEK, new_key, new_message
from gunicorn_server import Gunicorn
from redis_server import RedisServer

from feedback_blueprint.model import VoteRequest
from feedback_blueprint.stores import RedisStore

PERIOD = 5
OUTBOX = "!outbox:drain"
HARVEST = 225  # votes of a process in five seconds
VOTE = b'["good","informative","Just what I needed"]'


# What Redis keeps and does


def until_delivered(server: RedisServer, votes: int) -> Iterator[str]:
    """Rows of a table: bytes that a vote adds to its message, and microseconds of Redis's CPU."""
    store = RedisStore.from_url(server.url, 1)
    costs(server, store, HARVEST, by_another=True)  # to warm up
    for what, by_another in (("by its own process", False), ("by another, later", True)):
        cells = (cell / votes for cell in costs(server, store, votes, by_another=by_another))
        yield f"| {what} | {' | '.join(f'{cell:.0f}' for cell in cells)} |"


def costs(
    server: RedisServer, store: RedisStore, votes: int, *, by_another: bool
) -> tuple[float, ...]:
    """Bytes until the votes are delivered and after; microseconds for both."""
    keys = [new_key() for _ in range(votes)]
    for key in keys:
        store.stash(key, new_message(), WEEK)
    size, spent = memory(server), cpu(server)
    ballot = VoteRequest(VOTE, 20, OUTBOX, 0 if by_another else 60)
    marks = [mark for key in keys if (mark := store.vote(key, [b""], ballot).mark)]
    undelivered, cast = memory(server) - size, cpu(server)
    for first in range(0, votes, HARVEST):
        if by_another:
            store.unmark([each.mark for each in store.take(OUTBOX, 60, HARVEST)])
        else:
            store.unmark(marks[first : first + HARVEST])
            store.take(OUTBOX, 60, HARVEST)
    return undelivered, memory(server) - size, cast - spent, cpu(server) - cast


def memory(server: RedisServer) -> int:
    return int(server.info("memory")["used_memory"])


def cpu(server: RedisServer) -> float:
    used = server.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"]) * 1e6


# How long it takes


def drained(directory: Path, url: str, votes: int, limit: int, workers: int) -> float:
    """Seconds from the end of an outage until New Relic has all votes that were cast in it."""
    directory.mkdir()
    connect = {
        "event_harvest_config": {
            "report_period_ms": PERIOD * 1000,
            "harvest_limits": {"custom_event_data": limit},
        }
    }
    with Collector(directory, connect) as collector:
        env = collector.environ() | {"FLASK_FEEDBACK_STORE_URL": url}
        with Gunicorn("chat:app", directory, env=env, workers=workers) as app:
            with collector.failing("custom_event_data", 503):
                taken = chat_and_vote(app, votes)
            healed = time.monotonic()
            assert_all_arrive(collector, taken, timeout=600)
            return time.monotonic() - healed


# The report


def report(votes: int, keys: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis") as server:
        yield "| delivered | bytes until then | and after | µs for the vote | for the delivery |"
        yield "|---|---|---|---|---|"
        yield from until_delivered(server, keys)
        yield ""
        yield "| custom events a minute and process | processes | votes | drained in | a second |"
        yield "|---|---|---|---|---|"
        for limit, workers in ((300, 1), (300, 2), (833, 1)):
            directory = Path(name) / f"{limit}-{workers}"
            took = drained(directory, server.fresh_url(), votes, limit, workers)
            rate = f"{took:.0f} s | {votes / took:.0f}"
            yield f"| {limit * 60 // PERIOD:,} | {workers} | {votes:,} | {rate} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--votes", type=int, default=2160, help="that wait when the outage ends")
    parser.add_argument("--keys", type=int, default=31_000, help="of each kind, in Redis")
    arguments = parser.parse_args()
    for line in report(arguments.votes, arguments.keys):
        print(line, flush=True)


if __name__ == "__main__":
    main()
