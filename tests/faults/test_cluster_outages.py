"""A cluster of which one node fails, or all do; and Sentinels that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from contract import OUTBOX
from needed import needed
from outage import PASSWORD, TIMEOUT, Chat, kept_out, soon, suffer, with_password
from processes import wait_until
from redis.sentinel import Sentinel
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import all_struck

from feedback_blueprint.checks import check
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import ANYONE, Message, VoteRequest
from feedback_blueprint.stores import RedisStore
from feedback_blueprint.stores.redis.errors import ONE_NODE
from feedback_blueprint.stores.redis.urls import client_from_url
from feedback_blueprint.testing import capture_feedback


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_a_node_of_a_cluster_fails_and_comes_back(
    cluster: RedisCluster, complaints: Callable[[], list[str]], fault: str
) -> None:
    """What it does not keep goes on as if nothing were."""
    chat = Chat(with_password(cluster.url))
    with capture_feedback(chat.app) as events:
        node = cluster.nodes[1]
        made = [chat.chat() for _ in range(30)]
        assert all(made)
        theirs = [each for each in made if cluster.node_of(f"fb:{each}") is not node]
        its_own = [each for each in made if each not in theirs]
        assert theirs
        assert its_own
        with getattr(node, fault)():
            with soon():
                stashed = [chat.chat() for _ in range(30)]
            assert None in stashed
            assert any(stashed[stashed.index(None) :]), "one node's outage is taken for all nodes'"
            assert {chat.rate(message_id) for message_id in its_own[:3]} == {503}
            assert {chat.rate(message_id) for message_id in theirs} == {202}
        cluster.wait_ok()
        for message_id in its_own:
            wait_until(lambda: chat.rate(message_id) in (200, 202), "a vote")  # noqa: B023  # called at once
        assert {event["message_id"] for event in events} >= set(made)
    assert len(kept_out(complaints)) <= 2, complaints()
    assert PASSWORD not in "".join(complaints() + chat.answers)


def test_a_frozen_node_costs_a_read_of_many_messages_no_more_than_one(
    cluster: RedisCluster,
) -> None:
    """redis-py would try each of them again alone, for two timeouts each."""
    store = RedisStore.from_url(with_password(cluster.url), TIMEOUT)
    keys = [f"fb:read{number}" for number in range(100)]
    for key in keys:
        assert store.stash(key, Message("t"), timedelta(days=1))
    assert all(store.read(keys, [ANYONE]))
    with cluster.nodes[1].frozen(), soon(), pytest.raises(StoreUnavailable):
        store.read(keys, [ANYONE])
    cluster.wait_ok()


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_votes_on_the_other_nodes_are_taken_over_and_unmarked_while_one_is_down(
    cluster: RedisCluster, fault: str
) -> None:
    store = RedisStore.from_url(with_password(cluster.fresh_url()), TIMEOUT)
    node = cluster.nodes[1]
    keys = [f"m{number}" for number in range(20)]
    for key in keys:
        assert store.stash(key, Message("f" * 32), timedelta(days=1))
    marks = [store.vote(key, [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 0)).mark for key in keys]
    others = {key for key in keys if cluster.node_of(key) is not node}
    assert others < set(keys)
    with getattr(node, fault)():
        with soon():
            taken = store.take(OUTBOX, 60, 640)
        assert {each.mark.key for each in taken} == others
        with soon(), pytest.raises(StoreUnavailable):
            store.take(OUTBOX, 60, 640)
        with soon(), pytest.raises(StoreUnavailable):
            store.unmark(marks)
    cluster.wait_ok()
    wait_until(lambda: _left(store) == set(keys) - others, "those of the node that was out")


def test_a_check_finds_that_a_cluster_of_one_node_is_taken_for_a_server(tmp_path: Path) -> None:
    """It would keep messages, and refuse each vote: those need two keys."""
    with needed(), RedisCluster(tmp_path, size=1) as cluster:
        app = Chat(f"redis://{cluster.nodes[0].address}").app
        [votes] = app.extensions["feedback_blueprint"].values()
        [store] = [finding for finding in check(votes) if finding.what == "store"]
        assert not store.ok
        assert store.remedy == ONE_NODE


def _left(store: RedisStore) -> set[str]:
    with suppress(StoreUnavailable):
        return {each.mark.key for each in store.take(OUTBOX, 0, 640)}
    return set()


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_a_cluster_fails_and_comes_back(
    cluster: RedisCluster, complaints: Callable[[], list[str]], fault: str
) -> None:
    @contextmanager
    def struck() -> Iterator[None]:
        with all_struck(cluster.nodes, fault):
            yield
        cluster.wait_ok()

    suffer(Chat(with_password(cluster.url)), struck(), complaints, "Check that")


def test_a_cluster_without_a_node_is_down_as_a_whole() -> None:
    store = RedisStore.from_url("redis+cluster://127.0.0.1:1", TIMEOUT)
    with pytest.raises(StoreUnavailable, match=r"^Redis: ") as refused:
        store.read(["m"], [b""])
    assert refused.value.unreachable == "store"


def test_a_slot_that_moves_costs_nothing(
    cluster: RedisCluster, complaints: Callable[[], list[str]]
) -> None:
    """Nothing is refused while it does: redis-py follows."""
    chat = Chat(with_password(cluster.url))
    with capture_feedback(chat.app) as events:
        message_ids = [chat.chat() for _ in range(4)]
        for message_id in message_ids:
            with cluster.moving(f"fb:{message_id}"):
                assert chat.rate(message_id) == 202
        assert [event["message_id"] for event in events] == message_ids
    assert complaints() == []


def test_a_cluster_that_serves_some_of_its_slots_keeps_what_lies_there(
    cluster: RedisCluster,
) -> None:
    """What lies there is kept and rated, by an app that is started then, too."""
    with cluster.unserved("fb:gone"):
        chat = Chat(cluster.url)
        with capture_feedback(chat.app):
            message_ids = [chat.chat() for _ in range(10)]
            assert {chat.rate(each) for each in message_ids if each} == {202}
            assert chat.rate("gone") == 503


# Sentinel


def test_a_primary_fails_and_comes_back(
    users: Path, complaints: Callable[[], list[str]], tmp_path: Path
) -> None:
    """For less time than a failover takes."""
    with needed(), RedisSentinel(tmp_path, down_after_ms=30_000, aclfile=users) as sentinel:
        chat = Chat(with_password(sentinel.url))
        suffer(chat, sentinel.primary.frozen(), complaints, "Check that")


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_all_sentinels_fail_and_come_back(
    complaints: Callable[[], list[str]], tmp_path: Path, fault: str
) -> None:
    with needed(), RedisSentinel(tmp_path, down_after_ms=30_000) as sentinel:
        struck = all_struck(sentinel.sentinels, fault)
        suffer(Chat(sentinel.url), struck, complaints, "Check that", from_the_start=True)


def test_sentinels_are_asked_once_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch, redis_sentinel: RedisSentinel
) -> None:
    """However many connections are made meanwhile."""
    asked, ask = [], Sentinel.discover_master
    monkeypatch.setattr(
        Sentinel, "discover_master", lambda self, name: asked.append(name) or ask(self, name)
    )
    pool: Any = client_from_url(redis_sentinel.url, TIMEOUT)().connection_pool
    begin = time.monotonic()

    def ask_again() -> int:
        assert pool.get_master_address()[1] == redis_sentinel.primary.port
        return len(asked)

    assert [ask_again() for _ in range(9)] == [1] * 9
    wait_until(lambda: ask_again() == 2, "the Sentinels to be asked again")
    assert time.monotonic() > begin + 1


def test_who_has_a_primary_needs_no_sentinel(
    complaints: Callable[[], list[str]], tmp_path: Path
) -> None:
    with needed(), RedisSentinel(tmp_path) as sentinel:
        chat = Chat(sentinel.url)
        with capture_feedback(chat.app):
            message_id = chat.chat()
            for each in sentinel.sentinels:
                each.kill()
            assert message_id
            assert chat.rate(message_id) == 202
    assert complaints() == []
