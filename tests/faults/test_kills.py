"""Processes that are killed: what they had accepted arrives, once the app lives again."""

from __future__ import annotations

import os
import signal
import subprocess

from arrival import Taken, assert_all_arrive, chat_and_vote, vote
from chatting import chat, rate
from collector import Collector
from processes import wait_until
from under_agent import ended


def test_votes_of_an_app_that_was_killed_arrive_when_it_runs_again(
    collector: Collector, chat_server, new_store_url
) -> None:
    """Those on answers that were made again, too, each with the trace of its own answer."""
    store_url = new_store_url("sqlite")
    again: Taken = {}
    traces = {}
    with (
        collector.failing("custom_event_data", 503),
        chat_server(store_url=store_url, workers=2) as server,
    ):
        for prompt in ["one", "another"] * 3:
            made = chat(server, "/again", prompt=prompt)
            [(identity, message_id)] = vote(server, [made.json["message_id"]]).items()
            again[identity], traces[identity] = message_id, made.headers["X-Trace-ID"]
        taken = again | chat_and_vote(server)
        server.kill()
    assert len(again) == 6
    with chat_server(store_url=store_url):
        assert assert_all_arrive(collector, taken) == 0
    events = {(each["feedback_id"], each["revision"]): each for each in collector.events()}
    assert {identity: events[identity]["trace_id"] for identity in again} == traces


def test_votes_of_a_worker_that_was_killed_are_taken_over_by_the_others(
    collector: Collector, chat_server, new_store_url
) -> None:
    with chat_server(store_url=new_store_url("redis"), workers=2) as server:
        with collector.failing("custom_event_data", 503):
            taken = chat_and_vote(server, 20)
            os.kill(int(server.get("/").headers["X-Worker"]), signal.SIGKILL)
            collector.wait_failing("custom_event_data")  # by then, what it sent last was refused
        assert assert_all_arrive(collector, taken) == 0


def test_the_command_delivers_what_a_disconnected_agent_held_and_no_process_is_left_to(
    collector: Collector, chat_server, new_store_url
) -> None:
    store_url = new_store_url("redis")

    def deliver() -> subprocess.CompletedProcess[str]:
        command = ["-m", "flask", "--app", "chat", "feedback", "deliver"]
        return ended(command, collector.environ() | {"FLASK_FEEDBACK_STORE_URL": store_url})

    with (
        collector.failing("custom_event_data", 503),
        chat_server(store_url=store_url) as server,
    ):
        taken = chat_and_vote(server)
        collector.fail("analytic_event_data", 410)
        wait_until(lambda: rate(server, "unknown").status == 503, "the agent to be disconnected")
        server.stop()
    done = deliver()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10 undelivered\n")
    assert done.stdout.endswith("\n0 undelivered\n")
    assert assert_all_arrive(collector, taken, timeout=0) == 0
    assert deliver().stdout == "0 undelivered\n"
