"""Processes whose agent was started before they were forked: 503, or the vote arrives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from arrival import assert_all_arrive
from chatting import assert_not_recording, made
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from redis import Redis
from redis_server import RedisServer
from rq import Queue
from under_agent import run


@pytest.fixture(scope="module")
def store_url(redis_server: RedisServer) -> str:
    """The store of `server`, and of what else forks."""
    return redis_server.fresh_url()


@pytest.fixture(scope="module")
def server(chat_server: StartServer, store_url: str) -> Iterator[Gunicorn]:
    """A worker whose agent was registered before the fork: it makes messages, and takes no vote."""
    options = {"options": ["--preload"], "connected": False}
    with chat_server("registered:app", store_url=store_url, **options) as running:
        yield running


def standing(server: Gunicorn, message_id: str) -> list[Any]:
    """The votes on a message, of which there is one at most."""
    return server.get(f"/feedback?message_id={message_id}").json["feedback"]


def test_a_vote_is_refused_if_the_agent_was_registered_before_the_fork(server: Gunicorn) -> None:
    assert_not_recording(server, made(server), "before the process was forked")


def test_a_vote_of_a_forked_child_is_refused(
    collector: Collector, server: Gunicorn, store_url: str
) -> None:
    message_id = made(server)
    said = run(collector, ["jobs.py", message_id], {"FLASK_FEEDBACK_STORE_URL": store_url})
    assert said.startswith("agent-not-recording: The agent sends nothing from this process")
    assert standing(server, message_id) == [], "it left no trace"


def test_a_vote_of_a_job_arrives(collector: Collector, server: Gunicorn, store_url: str) -> None:
    """RQ forks for each job, and ends the child without its exit handlers."""
    message_id = made(server)
    with Redis.from_url(store_url) as connection:
        job = Queue(connection=connection).enqueue("jobs.vote", message_id)
        command = ["-m", "rq.cli", "worker", "--burst", f"--url={store_url}"]
        run(collector, command, {"FLASK_FEEDBACK_STORE_URL": store_url})
        assert job.return_value() == "accepted"
    [vote] = standing(server, message_id)
    assert_all_arrive(collector, {(vote["feedback_id"], 1): message_id})
