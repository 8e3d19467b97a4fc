"""Whatever state the agent is in: either the event arrives whole, or the answer is not 2xx."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from chatting import (
    assert_not_recording,
    assert_recorded,
    assert_untouched,
    chat,
    made,
)
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from processes import wait_until


@pytest.fixture(scope="module")
def server(chat_server: StartServer) -> Iterator[Gunicorn]:
    """One whose first request waits for the agent, as a user's does."""
    with chat_server(connected=False, env={"NEW_RELIC_STARTUP_TIMEOUT": "20"}) as running:
        yield running


# What New Relic decides when the agent connects


@contextmanager
def told(collector: Collector, server: Gunicorn, connect: Mapping[str, Any]) -> Iterator[None]:
    """Have the agent connect again with these settings, and then without them."""
    try:
        reconnect(collector, server, connect)
        yield
    finally:
        reconnect(collector, server, {})


def reconnect(collector: Collector, server: Gunicorn, connect: Mapping[str, Any]) -> None:
    runs = collector.runs
    collector.restart_agents(connect)
    server.get("/")  # something to report, so that the agent hears of it
    collector.wait_connected(runs + 1)
    wait_until(lambda: server.get("/").json["trace_id"], "transactions after the restart")


@pytest.mark.parametrize(
    ("connect", "cause"),
    [
        ({"high_security": True}, "high security"),
        ({"collect_custom_events": False}, "collect no custom events"),
        (
            {"event_harvest_config": {"harvest_limits": {"custom_event_data": 0}}},
            "keeps no custom events",
        ),
        (
            {"agent_config": {"custom_insights_events.enabled": False}},
            "custom_insights_events.enabled",
        ),
        (
            {
                "transaction_name_rules": [
                    {"match_expression": "feedback", "replacement": "", "ignore": True}
                ]
            },
            "rule",
        ),
    ],
    ids=["high-security", "collect-nothing", "harvest-limit-0", "switched-off", "ignoring-rule"],
)
def test_a_vote_is_refused_if_new_relic_wants_no_events(
    server: Gunicorn, collector: Collector, connect: dict[str, Any], cause: str
) -> None:
    message_id = made(server)
    with told(collector, server, connect):
        assert_not_recording(server, message_id, cause)
    assert_recorded(server, collector, message_id)


def test_a_vote_is_refused_while_the_agent_connects_again(
    server: Gunicorn, collector: Collector
) -> None:
    message_id = made(server)
    runs = collector.runs
    with collector.held():
        collector.restart_agents()
        wait_until(lambda: not server.get("/").json["trace_id"], "the agent to disconnect")
        assert_untouched(chat(server))
        assert_not_recording(server, message_id, "connecting")
    collector.wait_connected(runs + 1)
    wait_until(lambda: server.get("/").json["trace_id"], "the agent to connect")
    assert_recorded(server, collector, message_id)


def test_a_longer_limit_keeps_the_comment_in_one_piece(
    server: Gunicorn, collector: Collector
) -> None:
    limit = {"agent_config": {"custom_insights_events.max_attribute_value": 4095}}
    with told(collector, server, limit):
        event = assert_recorded(server, collector, made(server), message="x" * 4095)
    assert event["message"] == "x" * 4095
    assert "message_2" not in event


def test_a_comment_arrives_even_if_ai_monitoring_records_no_content(
    server: Gunicorn, collector: Collector
) -> None:
    quiet = {"ai_monitoring.enabled": True, "ai_monitoring.record_content.enabled": False}
    with told(collector, server, {"agent_config": quiet}):
        event = assert_recorded(server, collector, made(server), message="A comment")
    assert event["message"] == "A comment"


@pytest.mark.parametrize("status", [0, 503], ids=["connection-dropped", "unavailable"])
def test_a_fault_of_the_collector_loses_nothing(
    server: Gunicorn, collector: Collector, status: int
) -> None:
    collector.fail("custom_event_data", status)
    assert_recorded(server, collector, made(server))


# What the app does to its transaction


def test_without_a_live_transaction_a_vote_is_refused(
    server: Gunicorn, collector: Collector
) -> None:
    message_id = made(server)
    for what in "ignore", "end":
        headers = {"X-Transaction": what}
        assert_untouched(chat(server, headers=headers))
        assert_not_recording(server, message_id, headers=headers)
    assert "ignored or has ended" in server.log.read_text()
    assert_recorded(server, collector, message_id)


# How the process was started


def test_the_very_first_request_counts_with_a_startup_timeout(
    server: Gunicorn, collector: Collector
) -> None:
    assert server.first.json["trace_id"]
    assert_recorded(server, collector, made(server))


def test_a_key_that_new_relic_refuses_is_named_and_no_setting_that_is_set(
    collector: Collector, chat_server: StartServer
) -> None:
    env = {"NEW_RELIC_STARTUP_TIMEOUT": "0.5"}
    with (
        collector.failing("preconnect", 401),
        chat_server(connected=False, env=env) as outcast,
    ):
        assert_untouched(chat(outcast))
        assert_not_recording(outcast, "any", "refused it", "licence key")
        assert "startup_timeout" not in outcast.log.read_text()
