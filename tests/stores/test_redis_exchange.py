"""Which command a connection's answer is for."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError
from redis_server import RedisServer

from feedback_blueprint.stores.redis.urls import client_from_url


class Interrupted(BaseException):
    """What a signal's handler raises in the middle of whatever runs."""


def test_a_call_that_was_interrupted_leaves_its_answer_to_no_other(
    redis_server: RedisServer, monkeypatch
) -> None:
    client: Any = client_from_url(redis_server.fresh_url(), 5)()
    client.execute_command("SET", "a", "the answer to the call that was interrupted")
    connection = client.connection_pool.get_connection()
    client.connection_pool.release(connection)

    def interrupt(*_: object) -> None:
        raise Interrupted

    def send(command: Any) -> None:
        type(connection).send_packed_command(connection, command)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(connection, "send_packed_command", send)
            with pytest.raises(Interrupted):
                client.execute_command("GET", "a")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert client.execute_command("GET", "b") is None


def test_a_pipeline_that_was_interrupted_leaves_its_answers_to_no_other(
    redis_server: RedisServer, monkeypatch
) -> None:
    client: Any = client_from_url(redis_server.fresh_url(), 5)()
    client.execute_command("SET", "a", "the second answer to the pipeline that was interrupted")
    connection = client.connection_pool.get_connection()
    client.connection_pool.release(connection)
    pipeline = client.pipeline(transaction=False).get("b").get("a")

    def interrupt(*_: object) -> None:
        raise Interrupted

    def read(**options: Any) -> Any:
        answer = type(connection).read_response(connection, **options)
        os.kill(os.getpid(), signal.SIGUSR1)
        return answer

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(connection, "read_response", read)
            with pytest.raises(Interrupted):
                pipeline.execute()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert client.execute_command("GET", "b") is None


def test_a_command_that_a_server_refuses_costs_a_pipeline_no_connection(
    redis_server: RedisServer,
) -> None:
    client: Any = client_from_url(redis_server.fresh_url(), 5)()
    client.execute_command("SET", "a", "text")
    connection = client.connection_pool.get_connection()
    client.connection_pool.release(connection)
    connected = connection._sock
    with pytest.raises(ResponseError, match="not an integer"):
        client.pipeline(transaction=False).incr("a").get("a").execute()
    assert client.execute_command("GET", "a") == b"text"
    assert connection._sock is connected


def test_a_command_that_cannot_be_sent_costs_no_connection(redis_server: RedisServer) -> None:
    client: Any = client_from_url(f"{redis_server.fresh_url()}?max_connections=1", 1)()
    with pytest.raises(UnicodeEncodeError):
        client.execute_command("GET", "half of a surrogate pair: \ud800")
    assert client.execute_command("PING")


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.execute_command("GET", "a"),
        lambda client: client.pipeline(transaction=False).get("a").execute()[0],
    ],
    ids=["a command", "a pipeline"],
)
def test_what_is_sent_on_a_connection_that_its_server_closed_is_sent_again(
    redis_server: RedisServer, ask: Any
) -> None:
    client: Any = client_from_url(redis_server.fresh_url(), 5)()
    client.execute_command("SET", "a", "b")
    with redis.Redis.from_url(redis_server.url) as other:
        assert other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") >= 1
    assert ask(client) == b"b"


def test_a_child_that_is_forked_during_a_call_leaves_the_connection_to_its_parent(
    redis_server: RedisServer,
) -> None:
    client: Any = client_from_url(redis_server.fresh_url(), 5)()
    client.execute_command("SET", "a", "b")
    pool = client.connection_pool
    connection = pool.get_connection()
    if (child := os.fork()) == 0:
        pool.release(connection)
        is_another = pool.get_connection() is not connection
        os._exit(0 if is_another and client.execute_command("GET", "a") == b"b" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pool.release(connection)
    assert client.execute_command("GET", "a") == b"b"


def test_a_connection_of_a_pool_that_was_made_anew_is_closed(redis_server: RedisServer) -> None:
    """After a fork that gevent patches, each of the first greenlets makes the pool anew."""
    client: Any = client_from_url(redis_server.fresh_url(), 5)()
    pool = client.connection_pool
    connection = pool.get_connection()
    connection.connect()
    pool.reset()
    pool.release(connection)
    assert connection._sock is None
    assert client.execute_command("PING")
