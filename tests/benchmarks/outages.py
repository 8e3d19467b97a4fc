"""What an outage costs whoever chats and votes: a table, in under a minute.

    python tests/benchmarks/outages.py [FAULT ...]

Milliseconds of one process, called without a web server, with the default timeout of 0.25 s.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from certificates import issue_certificate
from outage import USERS, Chat, Site, with_password
from proxy import Proxy
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import RedisServer, all_struck
from store_faults import FAULTS, locked, no_bytes_left, sqlite_url

from feedback_blueprint.testing import capture_feedback

UNENDING = "DNS failure"
WATCHED = 1.1  # seconds: one probe, and perhaps another


def ms(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def recovered(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds until each of the calls succeeds, tried every 5 ms."""
    begin = time.perf_counter()
    took: dict[int, float] = {}
    while len(took) < len(calls) and time.perf_counter() - begin < 5:
        for number, call in enumerate(calls):
            if number not in took and call():
                took[number] = time.perf_counter() - begin
        time.sleep(0.005)  # how finely it is measured
    return [took.get(number, float("inf")) for number in range(len(calls))]


def measure(name: str, url: str, fault: Callable[[], AbstractContextManager[object]]) -> str:
    chat, voter = Chat(url), Chat(url)  # two processes would not know of each other's outage
    with capture_feedback(chat.app), capture_feedback(voter.app):
        message_id = "made before"
        if "from the start" not in name:
            message_id = chat.chat() or message_id
            voter.rate(message_id, "bad")
        with fault():
            first = ms(chat.chat)
            further = []
            begin = time.perf_counter()
            while time.perf_counter() - begin < WATCHED:
                further.append(ms(chat.chat))
                time.sleep(0.002)  # between two users
            paid = sum(each > 20 for each in further) / (time.perf_counter() - begin)
            vote = ms(lambda: voter.rate(message_id))
        after = ["-", "-"]
        if name != UNENDING:
            calls = [chat.chat, lambda: voter.rate(message_id) != 503]
            after = [f"{seconds:.2f} s" for seconds in recovered(calls)]
    further.sort()
    return (
        f"| {name} | {first:.1f} | {statistics.median(further):.2f} "
        f"| {further[int(len(further) * 0.99)]:.2f} | {further[-1]:.1f} | {paid:.1f} "
        f"| {vote:.1f} | {after[0]} | {after[1]} |"
    )


@contextmanager
def cases(directory: Path) -> Iterator[dict[str, tuple[str, Callable[[], object]]]]:
    users = directory / "users.acl"
    users.write_text(USERS)
    authority = issue_certificate(directory)
    with ExitStack() as stack:
        enter = stack.enter_context
        server = enter(RedisServer(directory / "redis", append_only=True, aclfile=users))
        site = Site(server, enter(Proxy(server.port)), users)
        found: dict[str, tuple[str, Callable[[], object]]] = {
            name: (site.url, lambda fault=fault: fault(site)) for name, (fault, _) in FAULTS.items()
        }
        found["killed"] = (site.url, server.down)
        secure = enter(RedisServer(directory / "tls", tls=authority, aclfile=users))
        tls = enter(Proxy(secure.port))
        url = with_password(secure.url).replace(str(secure.port), str(tls.port))
        found["TLS to a plain port"] = (url, lambda: tls.to(server.port))
        found["plain to a TLS port"] = (site.url, lambda: site.proxy.to(secure.port))
        nowhere = site.url.replace("127.0.0.1", "redis.invalid")
        found[UNENDING] = (nowhere, ExitStack)
        partial = {"append_only": True, "cluster_require_full_coverage": "no"}
        sentinel = enter(RedisSentinel(directory / "sentinel", down_after_ms=60_000))
        found["Sentinel: primary frozen"] = (sentinel.url, sentinel.primary.frozen)
        found["Sentinel: all frozen from the start"] = (
            sentinel.url,
            lambda: all_struck(sentinel.sentinels, "frozen"),
        )
        cluster = enter(RedisCluster(directory / "cluster", **partial))
        found["cluster: one of three frozen"] = (cluster.url, cluster.nodes[0].frozen)
        found["cluster: one of three killed"] = (cluster.url, cluster.nodes[0].down)
        found["cluster: all frozen"] = (cluster.url, lambda: all_struck(cluster.servers, "frozen"))
        path = directory / "feedback.db"
        found["SQLite: locked"] = (sqlite_url(path), lambda: locked(path))
        found["SQLite: no bytes left"] = (
            sqlite_url(path),
            lambda: no_bytes_left(path),
        )
        yield found


def main() -> None:
    logging.getLogger("feedback_blueprint").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as directory, cases(Path(directory)) as found:
        healthy = Chat(found["frozen"][0])
        with capture_feedback(healthy.app):
            usual = statistics.median(ms(healthy.chat) for _ in range(500))
        print(f"A message costs {usual:.2f} ms where nothing is wrong.\n")
        print(
            "| fault | first message | further: median | 99 % | worst | over 20 ms, a second "
            "| vote refused | stashed again after | voted again after |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for name in sys.argv[1:] or found:
            print(measure(name, *found[name]), flush=True)


if __name__ == "__main__":
    main()
