"""What more clients at once cost one worker, with as many threads, or greenlets, as clients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filling import TIMEOUT
from ratio import Effort
from redis_server import RedisServer
from sockets import HAND, alternate, apps, summary

KINDS = {"gthread": "threads", "gevent": "greenlets"}
CLIENTS = (8, 32, 128)


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    kinds, numbers = (["gthread"], CLIENTS[:1]) if effort.is_quick else ([*KINDS], CLIENTS)
    found: dict[str, Any] = {kind: {} for kind in kinds}
    each = effort.of(1 / len(KINDS) / len(CLIENTS))
    with RedisServer(directory / "redis") as redis:
        for kind, clients in itertools.product(kinds, numbers):
            many: dict[str, Any] = {"threads": clients} if kind == "gthread" else {}
            options = {"timeout": TIMEOUT, "worker_class": kind, **many}
            with apps(directory, redis, (HAND, "ours"), **options) as servers:
                requests = clients if effort.is_quick else max(2 * clients, 100)
                slices = alternate(servers, each, requests, clients, may_refuse=True)
            of = {name: summary(some, slices[HAND]) for name, some in slices.items()}
            found[kind][str(clients)] = of | {"rounds": len(slices[HAND])}
    return found


def render(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "| one worker | app | chats/s | votes/s | chat, p50, ms | chat, p99 | vote, p50 "
        "| vote, p99 | votes, relative to by hand | refused |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for kind, counts in found.items():
        for clients, of in counts.items():
            for name, label in ((HAND, "by hand"), ("ours", "ours")):
                app = of[name]
                cells = [f"{app[what]:.0f}" for what in ("chats", "votes")]
                for what in ("chat", "vote"):
                    cells += [f"{app[f'{what} p{percent}']:.1f}" for percent in (50, 99)]
                cells.append(str(app["votes to hand"]) if name == "ours" else "1.00")
                cells.append(str(app["refused"]))
                yield f"| {clients} {KINDS[kind]} | {label} | {' | '.join(cells)} |"
    yield ""
    for kind, counts in found.items():
        few, *_, many = counts if len(counts) > 1 else [*counts] * 2
        first, last = counts[few]["ours"], counts[many]["ours"]
        votes = last["votes"].median / first["votes"].median
        times = last["vote p50"].median / first["vote p50"].median
        yield (
            f"- With {many} {KINDS[kind]} instead of {few}, ours takes {votes:.2f} times the votes "
            f"a second, and the median vote waits {times:.0f} times as long."
        )
    rounds = (str(of["rounds"]) for counts in found.values() for of in counts.values())
    yield f"- Rounds, in the order of the table: {', '.join(rounds)}."
