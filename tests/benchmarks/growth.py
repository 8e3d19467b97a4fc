"""Whether size costs time: stash and vote among a thousand, 100 thousand and 2 million messages.

Also: what a message takes on each store, whether expired ones are given back, how long SQLite's
clean-up holds a stash up, and how evenly keys spread over a cluster. `--help` says how to run it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from filling import WEEK, fill_redis, fill_sqlite, new_key, new_message
from processes import wait_until
from ratio import Ratio
from redis_cluster import RedisCluster
from redis_server import RedisServer

from feedback_blueprint.model import Mark, VoteRequest
from feedback_blueprint.stores import RedisStore, SQLiteStore, Store

TIMEOUT = 0.25
OUTBOX = "!outbox:growth"
HARVEST = 225  # votes of a process in five seconds
VOTE = b'["good","informative","Just what I needed"]'


class FewDatabases(RedisServer):
    """A Redis as people run it: it looks for what has expired in one database after the other."""

    databases = 16


def vote(store: Store, key: str) -> Mark:
    mark = store.vote(key, [b""], VoteRequest(VOTE, 20, OUTBOX, 60)).mark
    assert mark
    return mark


# Time


def time_calls(store: Store, calls: int) -> tuple[float, float]:
    """Seconds that a stash and that a vote takes."""
    keys = [new_key() for _ in range(calls)]
    start = time.perf_counter()
    for key in keys:
        store.stash(key, new_message(), WEEK)
    stashed = time.perf_counter()
    for key in keys:
        vote(store, key)
    return (stashed - start) / calls, (time.perf_counter() - stashed) / calls


def compare_sizes(
    stores: dict[int, Store], sizes: dict[int, float], rounds: int
) -> Iterator[tuple[str, ...]]:
    """Rows of a table: the ratios to the smallest, within rounds that go there and back."""
    took: dict[int, list[tuple[float, float]]] = {size: [] for size in stores}
    for number in range(rounds + 2):
        for size in stores if number % 2 else reversed(stores):
            result = time_calls(stores[size], 20)
            if number >= 2:
                took[size].append(result)
    smallest = took[min(took)]
    for size, results in took.items():
        cells = []
        for what in (0, 1):
            pairs = zip(results, smallest, strict=True)
            ratio = Ratio.of(result[what] / small[what] for result, small in pairs)
            milliseconds = statistics.median(result[what] for result in results) * 1000
            cells.append(f"{milliseconds:.2f} ms, {ratio}")
        yield f"{size:,}", *cells, f"{sizes[size]:.0f}"


# What has expired


def redis_gives_back(server: RedisServer, messages: int) -> float:
    """The share of the memory that is given back, soon after the messages have expired."""
    url = server.fresh_url()
    before = server.info("memory")["used_memory"]
    took = fill_redis(server, url, messages, timedelta(seconds=10)) * messages
    with server.client(url) as client:
        wait_until(lambda: client.dbsize() == 0, "the messages to expire", timeout=120)
        client.ping()
    wait_until(
        lambda: server.info("memory")["used_memory"] - before < took / 4, "memory", timeout=60
    )
    return 1 - (server.info("memory")["used_memory"] - before) / took


def stash_for_a_while(path: Path, stashes: int, slowest: multiprocessing.Queue[float]) -> None:
    """One of the processes that share the file, and clean it up."""
    store, worst = SQLiteStore(path, TIMEOUT), 0.0
    for _ in range(stashes):
        start = time.perf_counter()
        store.stash(new_key(), new_message(), WEEK)
        worst = max(worst, time.perf_counter() - start)
    slowest.put(worst)


def sqlite_gives_back(path: Path, messages: int) -> tuple[int, int, int, float]:
    """Expired messages left, and pages and free pages before and after; the slowest stash."""
    fill_sqlite(SQLiteStore(path, TIMEOUT), path, messages, timedelta(0))
    size = path.stat().st_size
    processes: list[multiprocessing.Process] = []
    slowest: multiprocessing.Queue[float] = multiprocessing.Queue()
    for _ in range(2):
        arguments = (path, messages // 6, slowest)
        processes.append(multiprocessing.Process(target=stash_for_a_while, args=arguments))
        processes[-1].start()
    worst = max(slowest.get() for _ in processes)
    for process in processes:
        process.join()
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT count(*) FROM messages WHERE expires <= ?"
        left = connection.execute(query, (time.time(),)).fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return left, size, path.stat().st_size, worst


# The cluster


def spread(directory: Path, messages: int) -> list[float]:
    """Messages of each of three nodes, over a third of all."""
    with RedisCluster(directory) as cluster:
        store = RedisStore.from_url(cluster.url, TIMEOUT)
        for _ in range(messages):
            store.stash(new_key(), new_message(), WEEK)
        return [node.ask("DBSIZE") * len(cluster.nodes) / messages for node in cluster.nodes]


# What sizing needs to know


def counters(server: RedisServer) -> tuple[float, ...]:
    """Bytes in, bytes out, microseconds of CPU and bytes of the append-only file so far."""
    stats, cpu = server.info("stats"), server.info("cpu")
    seconds = cpu["used_cpu_user"] + cpu["used_cpu_sys"]
    file = server.info("persistence")["aof_current_size"]
    return stats["total_net_input_bytes"], stats["total_net_output_bytes"], seconds * 1e6, file


def costs(directory: Path, calls: int) -> Iterator[tuple[str, ...]]:
    """Rows of a table: what a server is given to do by a stash, and by a vote that is delivered."""
    options = {"append_only": True, "auto_aof_rewrite_percentage": 0}
    with RedisServer(directory, **options) as server:
        store = RedisStore.from_url(server.url, TIMEOUT)
        time_calls(store, 1)
        keys = [new_key() for _ in range(calls)]
        start = counters(server)
        for key in keys:
            store.stash(key, new_message(), WEEK)
        stashed = counters(server)
        marks = [vote(store, key) for key in keys]
        for first in range(0, calls, HARVEST):
            store.unmark(marks[first : first + HARVEST])
            store.take(OUTBOX, 60, HARVEST)
        voted = counters(server)
    for what, before, after in (("stash", start, stashed), ("vote", stashed, voted)):
        cells = (f"{(b - a) / calls:.0f}" for a, b in zip(before, after, strict=True))
        yield what, *cells


def heavier(server: RedisServer, messages: int) -> Iterator[float]:
    """Bytes of a message with a rater, and with a rater and a context of two entries."""
    owner, context = os.urandom(16), {"model": "small-1", "prompt_version": 7}
    for rest in ((owner,), (owner, context)):
        yield fill_redis(server, server.fresh_url(), messages, WEEK, *rest)


# The report


def report(sizes: list[int], rounds: int) -> Iterator[str]:
    yield "| store | messages | a stash, to the smallest | a vote, to the smallest | bytes each |"
    yield "|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with FewDatabases(directory / "redis") as server:
            urls = {size: server.fresh_url() for size in sizes}
            weights = {size: fill_redis(server, urls[size], size, WEEK) for size in sizes}
            stores: dict[int, Store] = {
                size: RedisStore.from_url(url, TIMEOUT) for size, url in urls.items()
            }
            yield from rows("Redis", compare_sizes(stores, weights, rounds))
            server.ask("FLUSHALL")
            given_back = redis_gives_back(server, sizes[1])
            owned, rich = heavier(server, sizes[1])
        weights = {}
        stores = {}
        for size in sizes:
            path = directory / f"{size}.sqlite3"
            stores[size] = store = SQLiteStore(path, TIMEOUT)
            weights[size] = fill_sqlite(store, path, size, WEEK)
        yield from rows("SQLite", compare_sizes(stores, weights, rounds))
        left, before, after, worst = sqlite_gives_back(directory / "expired.sqlite3", sizes[1])
        yield ""
        yield f"- Redis gave back {given_back:.0%} of what {sizes[1]:,} messages took, by itself."
        yield (
            f"- SQLite had {left:,} of {sizes[1]:,} expired messages left after {sizes[1] // 3:,} "
            f"stashes by two processes; its file went from {before:,} to {after:,} bytes. "
            f"The slowest stash took {worst * 1000:.0f} ms of the {2 * TIMEOUT * 1000:.0f} it may."
        )
        shares = ", ".join(f"{share:.3f}" for share in spread(directory / "cluster", 30_000))
        yield f"- Three nodes of a cluster keep {shares} times their third of 30,000 messages."
        yield f"- In Redis a rater makes it {owned:.0f} bytes a message, a context too {rich:.0f}."
        yield ""
        yield "| store | a call | bytes in | bytes out | µs of CPU | bytes of append-only file |"
        yield "|---|---|---|---|---|---|"
        yield from rows("Redis", costs(directory / "costs", 3000))


def rows(store: str, cells: Iterator[tuple[str, ...]]) -> Iterator[str]:
    return (f"| {store} | {' | '.join(row)} |" for row in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a hundredth of the messages")
    parser.add_argument("--rounds", type=int, default=50, help="of 20 stashes and votes each")
    arguments = parser.parse_args()
    shrink = 100 if arguments.quick else 1
    for line in report([1000, 100_000 // min(shrink, 10), 2_000_000 // shrink], arguments.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
