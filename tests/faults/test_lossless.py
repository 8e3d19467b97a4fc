"""Faults in the middle of traffic: whatever is answered 202 has reached New Relic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from chatting import assert_untouched, at_once, chat, rate
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from needed import needed
from outage import soon
from processes import wait_until
from proxy import Proxy
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import RedisServer
from traffic import WORKERS, Traffic

METRICS = "Custom/Feedback/"


# Votes, under three faults


@pytest.fixture(scope="module")
def proxy(own_redis: RedisServer) -> Iterator[Proxy]:
    with Proxy(own_redis.port) as running:
        yield running


@pytest.fixture(scope="module")
def server(chat_server: StartServer, proxy: Proxy) -> Iterator[Gunicorn]:
    with chat_server(store_url=f"redis://127.0.0.1:{proxy.port}/0", **WORKERS) as running:
        yield running


Fault = Callable[[RedisServer, Proxy], AbstractContextManager[None]]

FAULTS: dict[str, Fault] = {
    "frozen": lambda redis, _: redis.frozen(),
    "killed": lambda redis, _: redis.down(),
    "cut": lambda _, proxy: proxy.losing_answers(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_vote_refused_and_sent_again_is_never_lost(
    server: Gunicorn,
    collector: Collector,
    own_redis: RedisServer,
    proxy: Proxy,
    fault: str,
) -> None:
    """Half of the users try again at once, the others after what Retry-After says."""
    traffic = Traffic(server, collector)
    message_ids = at_once(traffic.stash_until_kept, range(30))
    with ThreadPoolExecutor(30) as pool:
        first, second = message_ids[:12], message_ids[12:]
        under_way = [pool.submit(traffic.vote_until_taken, each, False) for each in first]
        wait_until(lambda: traffic.taken > 3, "votes before the fault")
        with FAULTS[fault](own_redis, proxy):
            under_way += [
                pool.submit(traffic.vote_until_taken, each, number % 2 == 0)
                for number, each in enumerate(second)
            ]
            wait_until(lambda: traffic.refused >= len(second), "votes refused")
        for each in under_way:
            each.result()
    assert traffic.taken == 30
    traffic.assert_nothing_lost()


def test_votes_refused_during_a_freeze_arrive_once_and_the_chat_goes_on(
    server: Gunicorn, collector: Collector, own_redis: RedisServer
) -> None:
    """Redis applies the vote that it was sent while frozen, or the one that is sent after that."""
    traffic = Traffic(server, collector)
    message_ids = [traffic.stash_until_kept(number) for number in range(4)]
    with own_redis.frozen():
        with soon():
            assert_untouched(chat(server))
        for tries, message_id in enumerate(message_ids):
            for _ in range(1 + tries % 2):
                answer = rate(server, message_id)
                assert answer.status == 503, answer.text
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.json["code"] == "store-unavailable"
                assert int(answer.headers["Retry-After"]) > 0
    for message_id in message_ids:
        wait_until(lambda: traffic.vote(message_id).status != 503, "a vote to be taken")  # noqa: B023  # called at once
    assert {revision for _, revision in traffic.accepted.values()} == {1}
    traffic.assert_nothing_lost()
    for message_id, (feedback_id, _) in traffic.accepted.items():
        again = rate(server, message_id).json
        assert (again["status"], again["feedback_id"]) == ("unchanged", feedback_id)
        assert len(collector.events(message_id=message_id)) == 1


def test_what_was_missed_and_refused_can_be_alerted_on(
    chat_server: StartServer, collector: Collector, proxy: Proxy
) -> None:
    collector.clear()
    with chat_server(store_url=f"redis://127.0.0.1:{proxy.port}/0") as server:
        traffic = Traffic(server, collector)
        message_id = traffic.stash(0)
        assert message_id
        with proxy.refusing():
            for number in range(3):
                assert traffic.stash(number) is None
            for _ in range(2):
                assert traffic.vote(message_id).status == 503
        assert_untouched(chat(server, headers={"X-Transaction": "ignore"}))
        server.stop()  # an agent that ends sends all it has
        assert server.log.read_text().count("Feedback cannot be kept") == 1
    metrics = collector.metrics()
    assert metrics[METRICS + "StashesMissed"] == 4
    assert metrics[METRICS + "VotesRefused"] == 2


# A failover, a node killed, slots moved


def test_a_failover_loses_no_vote(
    chat_server: StartServer,
    collector: Collector,
    own_sentinel: RedisSentinel,
    record_property: Callable[[str, object], None],
) -> None:
    with chat_server(store_url=own_sentinel.url, **WORKERS) as server:
        traffic = Traffic(server, collector)
        with traffic.going_on():
            wait_until(lambda: traffic.taken > 20, "votes before the failover")
            primary = own_sentinel.primary
            primary.kill()
            own_sentinel.wait_failover(primary)
            before = traffic.taken
            wait_until(lambda: traffic.taken > before + 20, "votes after the failover")
        traffic.assert_well()
        report(traffic, record_property)
        traffic.assert_nothing_lost()


def test_a_killed_node_and_moved_slots_lose_no_vote(
    chat_server: StartServer,
    collector: Collector,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with (
        needed(),
        RedisCluster(tmp_path, replicas=True) as cluster,
        chat_server(store_url=cluster.url, **WORKERS) as server,
    ):
        traffic = Traffic(server, collector)
        with traffic.going_on():
            wait_until(lambda: traffic.taken > 20, "votes before the slots move")
            for number in range(10):
                with cluster.moving(f"key {number}"):
                    pass
            node = cluster.nodes[2]
            node.kill()
            wait_until(lambda: cluster.node_of_slot(16383) is not node, "a replica in its place")
            cluster.wait_ok()
            before = traffic.taken
            wait_until(lambda: traffic.taken > before + 20, "votes after the node was killed")
        traffic.assert_well()
        report(traffic, record_property)
        traffic.assert_nothing_lost()


def report(traffic: Traffic, record_property: Callable[[str, object], None]) -> None:
    for (what, status), number in sorted(traffic.answers.items()):
        record_property(f"{what} {status}", number)
        print(f"{what} {status}: {number}")
