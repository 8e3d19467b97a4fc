"""Whether size costs time: stash and vote among a thousand, 100 thousand and 2 million messages.

Also: what a message takes on each store, whether expired ones are given back, how long SQLite's
clean-up holds a stash up, and what a Redis server is given to do.
"""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from filling import (
    HARVEST,
    OUTBOX,
    PATIENCE,
    WEEK,
    cast,
    fill_redis,
    fill_sqlite,
    new_key,
    new_message,
)
from processes import wait_until
from ratio import Effort, Ratio, ratio_of
from redis_server import RedisServer

from feedback_blueprint.model import ANYONE
from feedback_blueprint.stores import RedisStore, SQLiteStore, Store

CALLS = 20
WHAT = ("stash", "vote", "read")


class FewDatabases(RedisServer):
    """A Redis as people run it: it looks for what has expired in one database after the other."""

    databases = 16


# Time


def time_calls(store: Store) -> tuple[float, float, float]:
    """Milliseconds of a stash, of a vote, and of reading all of these votes at once."""
    keys = [new_key() for _ in range(CALLS)]
    start = time.perf_counter()
    for key in keys:
        store.stash(key, new_message(), WEEK)
    stashed = time.perf_counter()
    for key in keys:
        cast(store, key)
    voted = time.perf_counter()
    store.read(keys, [ANYONE])
    read = time.perf_counter()
    each = 1000 / CALLS
    return (stashed - start) * each, (voted - stashed) * each, (read - voted) * 1000


def compare(stores: Mapping[str, Store], effort: Effort) -> dict[str, dict[str, Ratio]]:
    """Milliseconds, and the ratios to the first, within rounds that go there and back."""
    took: dict[str, list[tuple[float, ...]]] = {name: [] for name in stores}
    for store in stores.values():
        time_calls(store)  # to warm up
    for number in effort.rounds():
        for name in list(stores) if number % 2 else reversed(stores):
            took[name].append(time_calls(stores[name]))
    first, found = took[next(iter(stores))], {}
    for name, results in took.items():
        found[name] = {}
        for what, times, base in zip(
            WHAT, zip(*results, strict=True), zip(*first, strict=True), strict=True
        ):
            found[name] |= {what: Ratio.of(times), f"{what} to first": ratio_of(times, base)}
    return found


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
    store, worst = SQLiteStore(path, PATIENCE), 0.0
    for _ in range(stashes):
        start = time.perf_counter()
        store.stash(new_key(), new_message(), WEEK)
        worst = max(worst, time.perf_counter() - start)
    slowest.put(worst)


def sqlite_gives_back(path: Path, messages: int) -> dict[str, float]:
    """Expired messages left, the file before and after; the slowest stash."""
    # What has expired is removed a day later, as a clock may be ahead.
    fill_sqlite(SQLiteStore(path, PATIENCE), path, messages, timedelta(days=-2))
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
    return {"left": left, "before": size, "after": path.stat().st_size, "slowest": worst * 1000}


# What sizing needs to know


COSTS = ("bytes in", "bytes out", "CPU", "append-only file")


def counters(server: RedisServer) -> tuple[float, ...]:
    """Bytes in, bytes out, microseconds of CPU and bytes of the append-only file so far."""
    stats, cpu = server.info("stats"), server.info("cpu")
    seconds = cpu["used_cpu_user"] + cpu["used_cpu_sys"]
    file = server.info("persistence")["aof_current_size"]
    return stats["total_net_input_bytes"], stats["total_net_output_bytes"], seconds * 1e6, file


def costs(directory: Path, calls: int, times: int) -> dict[str, dict[str, Ratio]]:
    """What a server is given to do by a stash, and by a vote that is delivered."""
    options = {"append_only": True, "auto_aof_rewrite_percentage": 0}
    spent: dict[str, list[list[float]]] = {"stash": [], "vote": []}
    with RedisServer(directory, **options) as server:
        store = RedisStore.from_url(server.url, PATIENCE)
        time_calls(store)
        for _ in range(times):
            keys = [new_key() for _ in range(calls)]
            start = counters(server)
            for key in keys:
                store.stash(key, new_message(), WEEK)
            stashed = counters(server)
            marks = [cast(store, key) for key in keys]
            for first in range(0, calls, HARVEST):
                store.unmark(marks[first : first + HARVEST])
                store.take(OUTBOX, 60, HARVEST)
            for what, before, after in (
                ("stash", start, stashed),
                ("vote", stashed, counters(server)),
            ):
                spent[what].append([(b - a) / calls for a, b in zip(before, after, strict=True)])
    return {
        what: dict(zip(COSTS, map(Ratio.of, zip(*rounds, strict=True)), strict=True))
        for what, rounds in spent.items()
    }


# The section


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    many = effort.size(100_000)
    sizes = sorted({1000, many, effort.size(2_000_000)})
    found: dict[str, Any] = {"messages": many}
    with FewDatabases(directory / "redis") as server:
        urls = {f"{size:,}": server.fresh_url() for size in sizes}
        weights = {
            name: fill_redis(server, url, size, WEEK)
            for (name, url), size in zip(urls.items(), sizes, strict=True)
        }
        stores: dict[str, Store] = {
            name: RedisStore.from_url(url, PATIENCE) for name, url in urls.items()
        }
        found["Redis"] = compare(stores, effort.of(0.5))
        for name, weight in weights.items():
            found["Redis"][name]["bytes"] = weight
        server.ask("FLUSHALL")
        if not effort.is_quick:  # what has expired is given back in its own time
            found["given back"] = redis_gives_back(server, many)
        owner, context = os.urandom(16), {"model": "small-1", "prompt_version": 7}
        for name, rest in (("bare", ()), ("owned", (owner,)), ("rich", (owner, context))):
            found[name] = fill_redis(server, server.fresh_url(), many, WEEK, *rest)
    stores, weights = {}, {}
    for size in sizes:
        path, name = directory / f"{size}.sqlite3", f"{size:,}"
        stores[name] = store = SQLiteStore(path, PATIENCE)
        weights[name] = fill_sqlite(store, path, size, WEEK)
    found["SQLite"] = compare(stores, effort.of(0.5))
    for name, weight in weights.items():
        found["SQLite"][name]["bytes"] = weight
    found["expired"] = sqlite_gives_back(directory / "expired.sqlite3", many)
    times = 2 if effort.is_quick else 5
    found["costs"] = costs(directory / "costs", effort.size(3000), times)
    return found


def render(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"| store | messages | a stash, ms | relative to the fewest | a vote, ms "
        f"| relative to the fewest | reading {CALLS} votes, ms | relative to the fewest "
        f"| bytes each |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for store in ("Redis", "SQLite"):
        for name, of in found[store].items():
            cells = (f"{of[what]:.2f} | {of[f'{what} to first']}" for what in WHAT)
            yield f"| {store} | {name} | {' | '.join(cells)} | {of['bytes']:.0f} |"
    yield ""
    for store in ("Redis", "SQLite"):
        (few, _), *_, (many, last) = found[store].items()
        stash, vote, read = (f"{last[f'{what} to first'].median:.2f} times" for what in WHAT)
        yield (
            f"- {store}: with {many} messages instead of {few}, a stash takes {stash} as long, "
            f"a vote {vote}, a read {read}."
        )
    expired, messages = found["expired"], found["messages"]
    if "given back" in found:
        yield f"- Redis gave back {found['given back']:.0%} of what {messages:,} took, by itself."
    yield (
        f"- SQLite had {expired['left']:,} of {messages:,} expired messages left after "
        f"{messages // 6 * 2:,} stashes by two processes; its file went from "
        f"{expired['before']:,} to {expired['after']:,} bytes. The slowest stash took "
        f"{expired['slowest']:.0f} ms."
    )
    yield (
        f"- In Redis a rater adds {found['owned'] - found['bare']:.0f} bytes to a message, a "
        f"context of a model and a prompt version {found['rich'] - found['owned']:.0f}."
    )
    yield ""
    yield (
        "| Redis | bytes in | bytes out | µs of its CPU | bytes of append-only file |\n"
        "|---|---|---|---|---|"
    )
    for what, label in (("stash", "a message"), ("vote", "a vote, with its delivery")):
        cells = (f"{cell:.0f}" for cell in found["costs"][what].values())
        yield f"| {label} | {' | '.join(cells)} |"
