"""What it costs to share: a SQLite file among processes, the messages among nodes of a cluster."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filling import PATIENCE, TIMEOUT, WEEK, cast, new_key, new_message
from growth import CALLS, WHAT, compare
from ratio import Effort, Ratio, percentile
from redis_cluster import RedisCluster
from redis_server import RedisServer

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.stores import RedisStore, SQLiteStore

PROCESSES = (1, 2, 4)
SPAWN = multiprocessing.get_context("spawn")
SLICES = 10


def work(path: Path, seconds: float, start: Any, results: Any) -> None:
    """Stash and vote without a pause; when each began, and the milliseconds that each took."""
    store, calls, refused = SQLiteStore(path, TIMEOUT), [], 0
    store.read([new_key()], [b""])
    start.wait()
    begin = time.perf_counter()
    while (now := time.perf_counter() - begin) < seconds:
        key = new_key()
        try:
            store.stash(key, new_message(), WEEK)
            stashed = time.perf_counter() - begin
            cast(store, key)
            voted = time.perf_counter() - begin
        except StoreUnavailable:
            refused += 1
        else:
            calls.append((now / seconds, (stashed - now) * 1000, (voted - stashed) * 1000))
    results.put((calls, refused))


def share_file(path: Path, processes: int, seconds: float) -> dict[str, Any]:
    SQLiteStore(path, TIMEOUT).stash(new_key(), new_message(), WEEK)  # makes the tables
    start, results = SPAWN.Barrier(processes), SPAWN.Queue()
    arguments = (path, seconds, start, results)
    running = [SPAWN.Process(target=work, args=arguments) for _ in range(processes)]
    for process in running:
        process.start()
    told = [results.get(timeout=seconds + 60) for _ in running]
    for process in running:
        process.join()
    slices: list[list[tuple[float, float]]] = [[] for _ in range(SLICES)]
    for calls, _ in told:
        for at, *took in calls:
            slices[int(at * SLICES)].append(tuple(took))
    found: dict[str, Any] = {
        "messages": Ratio.of(len(some) / seconds * SLICES for some in slices),
        "refused": sum(refused for _, refused in told),
        "calls": sum(map(len, slices)),
    }
    for what, place in (("stash", 0), ("vote", 1)):
        took = [[each[place] for each in some] for some in slices if len(some) > 1]
        found[f"{what} p50"] = Ratio.of(percentile(some, 50) for some in took)
        found[f"{what} p99"] = Ratio.of(percentile(some, 99) for some in took)
        found[f"{what} most"] = max(map(max, took))
    return found


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    seconds = max(effort.seconds * 0.2, 0.3)
    files = {
        str(processes): share_file(directory / f"{processes}.sqlite3", processes, seconds)
        for processes in PROCESSES[: 2 if effort.is_quick else 3]
    }
    with (
        RedisServer(directory / "redis") as server,
        RedisCluster(directory / "cluster", cluster_node_timeout=30_000) as cluster,
    ):
        stores = {
            "one server": RedisStore.from_url(server.url, PATIENCE),
            "a cluster of three": RedisStore.from_url(cluster.url, PATIENCE),
        }
        nodes = compare(stores, effort.of(0.3))
        cluster.fresh_url()
        messages = effort.size(30_000)
        for _ in range(messages):
            stores["a cluster of three"].stash(new_key(), new_message(), WEEK)
        shares = [node.ask("DBSIZE") * len(cluster.nodes) / messages for node in cluster.nodes]
    return {"files": files, "nodes": nodes, "shares": shares, "messages": messages}


def render(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "| processes on one file | messages, each with a vote, a second | stash, p50, ms | p99 "
        "| most | vote, p50, ms | p99 | most | given up |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for processes, of in found["files"].items():
        cells = " | ".join(
            f"{of[f'{what} p50']:.2f} | {of[f'{what} p99']:.2f} | {of[f'{what} most']:.0f}"
            for what in ("stash", "vote")
        )
        yield f"| {processes} | {of['messages']:.0f} | {cells} | {of['refused']} |"
    yield ""
    (few, first), *_, (many, last) = found["files"].items()
    yield (
        f"- {many} processes that do nothing else take "
        f"{last['messages'].median / first['messages'].median:.2f} times the messages of {few}; "
        f"the median stash takes {last['stash p50'].median / first['stash p50'].median:.1f} times "
        f"as long, the slowest of a hundred "
        f"{last['stash p99'].median / first['stash p99'].median:.0f} times."
    )
    yield ""
    yield f"| Redis | a stash, ms | a vote, ms | reading {CALLS} votes, ms |"
    yield "|---|---|---|---|"
    for name, of in found["nodes"].items():
        yield f"| {name} | {' | '.join(f'{of[what]:.2f}' for what in WHAT)} |"
    last = found["nodes"]["a cluster of three"]
    beside = " | ".join(str(last[f"{what} to first"]) for what in WHAT)
    yield f"| the cluster, relative to one server | {beside} |"
    yield ""
    shares = ", ".join(f"{share:.3f}" for share in found["shares"])
    yield f"- The nodes keep {shares} times their third of {found['messages']:,} messages."
