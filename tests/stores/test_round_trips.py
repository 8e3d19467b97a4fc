"""What a message and a vote ask of Redis: one round trip each, of one server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from contract import ANN, BOB, OUTBOX, store_at
from redis_cluster import RedisCluster
from redis_server import RedisServer

from feedback_blueprint.model import ANYONE, Mark, Message, VoteRequest

COMMANDS = {"SET", "GET", "EVAL", "EVALSHA", "ZADD", "ZREM"}

#: A connection may be new.
BESIDE = {"HELLO", "CLIENT", "SELECT"}

Watch = Callable[[], list[str]]


@contextmanager
def watched(server: RedisServer, *, scripts: bool = False) -> Iterator[Watch]:
    """Ask which commands clients have sent since it was last asked, those of scripts if wanted."""
    with server.client() as client, client.monitor() as monitor:
        client.ping()  # to be connected

        def seen() -> list[str]:
            client.echo("end of watch")
            names = []
            while (command := monitor.next_command())["command"] != "ECHO end of watch":
                if scripts or command["client_type"] != "lua":
                    names.append(command["command"].split(" ")[0])
            return names

        seen()
        yield seen


@pytest.fixture
def store_url(redis_server: RedisServer) -> str:
    return redis_server.fresh_url()


def test_a_message_is_one_command_and_a_vote_is_one(app, client, events, redis_server):
    def chat() -> dict[str, str]:
        return {"message_id": client.get("/chat").json["message_id"], "rating": "good"}

    assert client.post("/feedback", json=chat()).status_code == 202  # connects, loads the script
    with watched(redis_server) as seen:
        bodies = [chat() for _ in range(3)]
        assert [name for name in seen() if name not in BESIDE] == ["SET"] * 3
        for body in bodies:
            assert client.post("/feedback", json=body).status_code == 202
        assert [name for name in seen() if name not in BESIDE] == ["EVALSHA"] * 3


@pytest.mark.parametrize("rated", [False, True])
def test_another_raters_message_takes_as_many_commands_as_none(redis_server, rated):
    """And none of them reads more than how it begins, so that time tells nothing of it."""
    store = store_at(redis_server.fresh_url())
    store.stash("ann's", Message("f" * 32, ANN, {"model": "m" * 255}, "text"), timedelta(days=1))
    if rated:
        store.vote("ann's", [ANN], VoteRequest(b"[1]", 20))
    took = []
    for key in "warm", "ann's", "none":
        with watched(redis_server, scripts=True) as seen:
            assert store.read([key], [BOB]) == [None]
            assert store.vote(key, [BOB], VoteRequest(b"[1]", 20)).status == "unknown"
            took.append(len([name for name in seen() if name not in BESIDE]))
    assert took[1] == took[2] == 8, "a script, the time, the type and the beginning; twice"


def test_a_first_vote_takes_a_script_of_eight_commands_in_redis(redis_server):
    """While a script runs, Redis serves nobody else."""
    store = store_at(redis_server.fresh_url())
    for key in "warm", "m":
        store.stash(key, Message("f" * 32, ANN), timedelta(days=1))
        with watched(redis_server, scripts=True) as seen:
            store.vote(key, [ANN], VoteRequest(b"[1]", 20, OUTBOX, 60))
            took = [name for name in seen() if name not in BESIDE]
    assert took == ["EVALSHA", "TIME", "TYPE", "GETRANGE", "PTTL", "DEL", "HSET", "PEXPIRE", "ZADD"]


def test_a_read_sends_its_script_once(redis_server):
    store = store_at(redis_server.fresh_url())
    store.read(["a"], [ANYONE])  # connects
    with watched(redis_server) as seen:
        store.read(["a", "b", "c"], [ANYONE])
        assert seen() == ["EVAL", "EVALSHA", "EVALSHA"]


def test_an_answer_made_again_takes_no_more_commands_if_votes_on_many_before_wait(redis_server):
    """While New Relic is out, one client could else make all others wait for Redis."""
    store = store_at(redis_server.fresh_url())

    def make_again_and_vote(number: int) -> None:
        message = Message("t", ANYONE, nonce=b"%8d" % number)
        assert store.stash("m", message, timedelta(days=1), may_replace=[ANYONE])
        store.vote("m", [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 60))

    took = []
    for number in range(50):
        with watched(redis_server, scripts=True) as seen:
            make_again_and_vote(number)
            took.append(len([name for name in seen() if name not in BESIDE]))
    assert took[2:] == [took[2]] * 48
    assert store.backlog(OUTBOX).votes == 50


def test_marks_are_taken_off_in_one_round_trip(redis_server):
    store = store_at(redis_server.fresh_url())
    marks = [Mark(OUTBOX, f"m{number}", b"", number) for number in range(20)]
    store.unmark(marks)  # connects
    with watched(redis_server) as seen:
        store.unmark(marks)
        assert seen() == ["EVAL", "ZREM"]


def test_nothing_to_take_over_is_one_command(redis_server):
    store = store_at(redis_server.fresh_url())
    store.take(OUTBOX, 60, 10)  # connects
    with watched(redis_server) as seen:
        store.take(OUTBOX, 60, 10)
        assert seen() == ["EVAL"]


def test_a_message_in_a_cluster_is_served_by_one_node(redis_cluster: RedisCluster):
    store = store_at(redis_cluster.fresh_url())

    def serve(key: str) -> None:
        store.stash(key, Message("t"), timedelta(days=1))
        outcome = store.vote(key, [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 60))
        store.unmark([outcome.mark])
        store.read([key], [ANYONE])

    serve("for the client to learn what there is")
    with ExitStack() as stack:
        nodes = {node: stack.enter_context(watched(node)) for node in redis_cluster.nodes}
        for key in "abcdef":
            serve(key)
            asked = {node for node, seen in nodes.items() if COMMANDS & {*seen()}}
            assert asked == {redis_cluster.node_of(key)}


def test_a_cluster_is_not_asked_which_keys_a_script_has(redis_cluster: RedisCluster):
    """redis-py asks a server for each script in a pipeline, unless it is told the node."""
    store = store_at(redis_cluster.fresh_url())
    keys = [f"m{number}" for number in range(20)]
    marks = []
    for key in keys:
        store.stash(key, Message("t"), timedelta(days=1))
        marks.append(store.vote(key, [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 0)).mark)
    with ExitStack() as stack:
        nodes = [stack.enter_context(watched(node)) for node in redis_cluster.nodes]
        store.read(keys, [ANYONE])
        names = [name for seen in nodes for name in seen() if name not in BESIDE]
        assert sorted(names) == ["EVAL"] * 20 + ["EXISTS"] * 3
        store.take(OUTBOX, 60, 640)
        store.unmark([mark for mark in marks if mark])
        list(store.export("", lambda key: "!" not in key, [b"a" * 16]))
        assert "COMMAND" not in {name for seen in nodes for name in seen()}
