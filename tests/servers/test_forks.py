"""Processes whose agent was started before they were forked: 503, or the vote arrives."""

from __future__ import annotations

import pytest
from arrival import assert_all_arrive
from chatting import assert_not_recording, made, rate
from collector import Collector
from gunicorn_server import Gunicorn
from redis import Redis
from redis_server import RedisServer
from rq import Queue
from under_agent import run


@pytest.fixture(scope="module")
def shared_store_url(redis_server: RedisServer) -> str:
    """The store of `server`, and of what forks."""
    return redis_server.fresh_url()


def test_a_vote_is_refused_if_the_agent_was_registered_before_the_fork(chat_server) -> None:
    with chat_server("registered:app", options=["--preload"], connected=False) as server:
        assert_not_recording(server, made(server), "before the process was forked")


def test_a_vote_of_a_forked_child_is_refused(
    collector: Collector, server: Gunicorn, shared_store_url: str
) -> None:
    message_id = made(server)
    said = run(collector, ["jobs.py", message_id], {"FLASK_FEEDBACK_STORE_URL": shared_store_url})
    assert said.startswith("agent-not-recording: The agent sends nothing from this process")
    assert rate(server, message_id).json["revision"] == 1, "it left no trace"


def test_a_vote_of_a_job_arrives(
    collector: Collector, server: Gunicorn, shared_store_url: str
) -> None:
    """RQ forks for each job, and ends the child without its exit handlers."""
    message_id = made(server)
    with Redis.from_url(shared_store_url) as connection:
        job = Queue(connection=connection).enqueue("jobs.vote", message_id)
        command = ["-m", "rq.cli", "worker", "--burst", f"--url={shared_store_url}"]
        run(collector, command, {"FLASK_FEEDBACK_STORE_URL": shared_store_url})
        assert job.return_value() == "accepted"
    feedback_id = server.get(f"/feedback?message_id={message_id}").json["feedback"][0][
        "feedback_id"
    ]
    assert_all_arrive(collector, {(feedback_id, 1): message_id})
