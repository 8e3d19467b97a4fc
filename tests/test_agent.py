"""From a thumb to the collector, through gunicorn and the real New Relic agent.

Whatever state the agent is in: either the event arrives whole, or the answer is not 2xx.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from collector import Collector, Event
from gunicorn_server import Gunicorn, StartServer
from http_client import Response
from processes import wait_until

numbers = count(1)


@pytest.fixture(scope="module")
def store_url(new_store_url: Callable[[str], str]) -> str:
    """One store for all servers here, so that a vote can be sent to one, then to another."""
    return new_store_url("sqlite")


@pytest.fixture(scope="module")
def server(chat_server: StartServer, store_url: str) -> Iterator[Gunicorn]:
    """The chat app with a working agent."""
    with chat_server(store_url=store_url) as running:
        yield running


def chat(server: Gunicorn, path: str = "/plain", **options: Any) -> Response:
    """Have a message made; its prompt is unique."""
    answer = server.post(path, {"prompt": f"hello {next(numbers)}"}, **options)
    assert answer.status == 200, answer.text
    return answer


def rate(server: Gunicorn, message_id: str, **vote: Any) -> Response:
    """Vote "good", unless told otherwise."""
    options = {"headers": vote.pop("headers", {})}
    return server.post("/feedback", {"message_id": message_id, "rating": "good"} | vote, **options)


def made(server: Gunicorn, path: str = "/plain") -> str:
    """Make a message, return its ID."""
    return str(chat(server, path).headers["X-Message-ID"])


def comment_of(event: Event) -> str:
    """The comment, put together again."""
    parts = [event["message"]]
    while (name := f"message_{len(parts) + 1}") in event:
        parts.append(event[name])
    assert not [name for name in event if name.startswith("message_") and name[8:].isdigit()][
        len(parts) - 1 :
    ]
    return "".join(parts)


def assert_recorded(server: Gunicorn, collector: Collector, message_id: str, **vote: Any) -> Event:
    """The vote is taken, and its one event arrives whole."""
    answer = rate(server, message_id, **vote)
    assert answer.status == 202, answer.text
    event = collector.wait_for(message_id=message_id)[0]
    assert event["trace_id"]
    assert event["feedback_id"] == answer.json["feedback_id"]
    assert event["revision"] == answer.json["revision"] == 1
    return event


def assert_not_recording(answer: Response, *causes: str) -> None:
    """A refusal that says why the agent would drop the event."""
    assert answer.status == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["code"] == "agent-not-recording"
    for cause in causes:
        assert cause in answer.json["detail"].lower()


def assert_untouched(answer: Response) -> None:
    """The app's own answer, without a message ID: nothing was kept."""
    assert answer.status == 200
    assert answer.json["reply"]
    assert "X-Message-ID" not in answer.headers


# What arrives


@pytest.mark.parametrize("kind", ["plain", "async", "generator", "async-generator"])
def test_the_whole_vote_arrives_with_the_trace_of_its_message(
    server: Gunicorn, collector: Collector, kind: str
) -> None:
    message = chat(server, f"/{kind}")
    message_id = message.headers["X-Message-ID"]
    answer = rate(
        server,
        message_id,
        rating="good",
        category="informative",
        message="Just what I needed",
        metadata={"page": "/help", "seconds": 1.5, "words": 12, "mobile": False},
    )
    assert answer.status == 202
    feedback_id = answer.json["feedback_id"]
    assert answer.json == {
        "message_id": message_id,
        "feedback_id": feedback_id,
        "revision": 1,
        "status": "accepted",
    }

    [event] = collector.wait_for(message_id=message_id)
    assert event.pop("id")
    assert event.pop("timestamp") > 1_700_000_000_000
    assert message.headers["X-Trace-ID"]
    assert answer.headers["X-Trace-ID"] != message.headers["X-Trace-ID"]
    assert event == {
        "type": "LlmFeedbackMessage",
        "ingest_source": "Python",
        "trace_id": message.headers["X-Trace-ID"],
        "rating": "good",
        "category": "informative",
        "message": "Just what I needed",
        "message_id": message_id,
        "feedback_id": feedback_id,
        "revision": 1,
        "retracted": False,
        "model": "parrot-1",
        "temperature": 0.5,
        "prompt_version": 3,
        "page": "/help",
        "seconds": 1.5,
        "words": 12,
        "mobile": False,
    }


@pytest.mark.parametrize("path", ["named", "computed", "named-stream", "text", "stash", "thread"])
def test_every_way_to_name_a_message_leads_to_its_trace(
    server: Gunicorn, collector: Collector, path: str
) -> None:
    message = chat(server, f"/{path}")
    event = assert_recorded(server, collector, message.json["message_id"])
    assert event["trace_id"] == message.headers["X-Trace-ID"] != ""


def test_a_changed_vote_is_a_revision_and_the_same_vote_is_no_event(
    server: Gunicorn, collector: Collector
) -> None:
    message_id = made(server)
    first = assert_recorded(server, collector, message_id, category="funny", message="Ha!")
    assert rate(server, message_id, category="funny", message="Ha!").status == 200
    assert rate(server, message_id, rating="bad").status == 202
    events = collector.wait_for(2, message_id=message_id)
    assert [event["revision"] for event in events] == [1, 2]
    assert events[1]["feedback_id"] == first["feedback_id"]
    assert events[1]["rating"] == "bad"
    assert events[1]["category"] == events[1]["message"] == ""


def test_messages_of_one_request_share_a_trace_and_are_told_apart(
    server: Gunicorn, collector: Collector
) -> None:
    message = chat(server, "/several")
    assert len(set(message.json)) == 3
    for message_id in message.json:
        event = assert_recorded(server, collector, message_id)
        assert event["trace_id"] == message.headers["X-Trace-ID"]


def test_an_inbound_traceparent_gives_several_messages_one_trace(
    server: Gunicorn, collector: Collector
) -> None:
    trace_id = "0123456789abcdef0123456789abcdef"
    headers = {"traceparent": f"00-{trace_id}-0123456789abcdef-01"}
    for _ in range(2):
        message_id = chat(server, headers=headers).headers["X-Message-ID"]
        assert assert_recorded(server, collector, message_id)["trace_id"] == trace_id


def test_a_trace_id_that_is_no_hexadecimal_number_is_kept(
    server: Gunicorn, collector: Collector
) -> None:
    caller = {"ty": "App", "ac": "12345", "tk": "12345", "ap": "1", "tx": "1", "ti": 1}
    data = caller | {"tr": "Not hex: é"}
    header = base64.b64encode(json.dumps({"v": [0, 1], "d": data}).encode()).decode()
    message_id = chat(server, headers={"newrelic": header}).headers["X-Message-ID"]
    assert assert_recorded(server, collector, message_id)["trace_id"] == "Not hex: é"


# What would be cut, dropped or bent


def test_the_largest_vote_arrives_whole(server: Gunicorn, collector: Collector) -> None:
    comment = "1é€😀" * 409 + "12345"
    assert len(comment.encode()) == 4095
    metadata = {f"metadata_{number}": "é" * 127 for number in range(16)}
    event = assert_recorded(
        server,
        collector,
        made(server, "/rich"),
        rating="r" * 255,
        category="c" * 255,
        message=comment,
        metadata=metadata,
    )
    assert comment_of(event) == comment
    assert event["rating"] == "r" * 255
    assert event["category"] == "c" * 255
    assert event["trace_id"]
    assert event.items() >= metadata.items()
    assert sum(name.startswith("context_") for name in event) == 16
    assert len(event) <= 64


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_a_64_bit_integer_arrives(server: Gunicorn, collector: Collector, number: int) -> None:
    event = assert_recorded(
        server, collector, made(server), rating=number, metadata={"number": number}
    )
    assert event["rating"] == event["number"] == number


@pytest.mark.parametrize(
    "vote",
    [
        {"rating": 2**63},
        {"rating": -(2**63) - 1},
        {"metadata": {"number": 2**63}},
        {"rating": "\ud800"},
        {"category": "\ud800"},
        {"message": "\ud800"},
        {"metadata": {"name": "\ud800"}},
        {"metadata": {"\ud800": 1}},
        {"metadata": {"number": float("nan")}},
        {"metadata": {"number": float("inf")}},
        {"metadata": {"timestamp": 12}},
        {"metadata": {"trace_id": "another"}},
        {"metadata": {"nested": {"a": 1}}},
        {"metadata": {"list": [1]}},
        {"metadata": {"nothing": None}},
        {"metadata": {"long": "x" * 256}},
        {"metadata": {"n" * 256: 1}},
        {"metadata": {f"name{number}": number for number in range(17)}},
        {"message": "x" * 4096},
        {"category": "x" * 256},
        {"rating": "x" * 256},
    ],
    ids=lambda vote: json.dumps(vote)[:40],
)
def test_what_the_agent_would_spoil_is_refused(server: Gunicorn, vote: dict[str, Any]) -> None:
    message_id = made(server)
    answer = rate(server, message_id, **vote)
    assert answer.status in {400, 422}, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    again = rate(server, message_id)
    assert (again.status, again.json["revision"]) == (202, 1)


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
        ({"collect_custom_events": False}, "collect no custom events"),
        (
            {"event_harvest_config": {"harvest_limits": {"custom_event_data": 0}}},
            "custom_event_data",
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
    ids=["collect-nothing", "harvest-limit-0", "switched-off", "ignoring-rule"],
)
def test_where_new_relic_wants_no_events_a_vote_waits(
    server: Gunicorn, collector: Collector, connect: dict[str, Any], cause: str
) -> None:
    message_id = made(server)
    with told(collector, server, connect):
        assert_not_recording(rate(server, message_id), cause)
    assert_recorded(server, collector, message_id)


def test_while_the_agent_connects_again_nothing_is_acknowledged(
    server: Gunicorn, collector: Collector
) -> None:
    message_id = made(server)
    runs = collector.runs
    with collector.held():
        collector.restart_agents()
        wait_until(lambda: not server.get("/").json["trace_id"], "the agent to disconnect")
        assert_untouched(chat(server))
        assert_not_recording(rate(server, message_id), "connecting")
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


def test_ai_monitoring_has_no_say(server: Gunicorn, collector: Collector) -> None:
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


@pytest.mark.parametrize("what", ["ignore", "end"])
def test_without_a_live_transaction_a_vote_waits(
    server: Gunicorn, collector: Collector, what: str
) -> None:
    headers = {"X-Transaction": what}
    assert_untouched(chat(server, headers=headers))
    message_id = made(server)
    assert_not_recording(rate(server, message_id, headers=headers), "transaction")
    assert_recorded(server, collector, message_id)


# How the process was started


def test_without_an_agent_a_vote_waits(
    server: Gunicorn, collector: Collector, chat_server: StartServer, store_url: str
) -> None:
    message_id = made(server)
    with chat_server(store_url=store_url, agent=False) as bare:
        assert_untouched(chat(bare))
        assert_not_recording(rate(bare, message_id), "newrelic-admin")
    assert_recorded(server, collector, message_id)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"high_security": True}, "high security"),
        ({"custom_insights_events.enabled": False}, "custom_insights_events.enabled"),
        ({"monitor_mode": False}, "monitor_mode"),
    ],
    ids=["high-security", "switched-off", "monitor-mode"],
)
def test_where_the_configuration_wants_no_events_a_vote_waits(
    server: Gunicorn,
    collector: Collector,
    chat_server: StartServer,
    store_url: str,
    settings: dict[str, Any],
    cause: str,
) -> None:
    message_id = made(server)
    with chat_server(store_url=store_url, settings=settings) as silent:
        assert_not_recording(rate(silent, message_id), cause)
    assert_recorded(server, collector, message_id)


def test_a_new_process_acknowledges_nothing_before_its_agent_is_connected(
    server: Gunicorn, collector: Collector, chat_server: StartServer, store_url: str
) -> None:
    message_id = made(server)
    with (
        collector.held() as release,
        chat_server(store_url=store_url, connected=False) as fresh,
    ):
        assert_untouched(chat(fresh))
        assert_not_recording(rate(fresh, message_id), "connecting", "startup_timeout")
        release()
        wait_until(lambda: fresh.get("/").json["trace_id"], "the agent to connect")
        assert_recorded(fresh, collector, message_id)


def test_with_a_startup_timeout_the_very_first_request_counts(
    collector: Collector, chat_server: StartServer
) -> None:
    env = {"NEW_RELIC_STARTUP_TIMEOUT": "20"}
    with chat_server(connected=False, env=env) as fresh:
        assert fresh.first.json["trace_id"]
        assert_recorded(fresh, collector, made(fresh))


def test_where_new_relic_turned_the_agent_away_a_vote_waits(
    server: Gunicorn, collector: Collector, chat_server: StartServer, store_url: str
) -> None:
    message_id = made(server)
    collector.fail("connect", 410)
    with chat_server(store_url=store_url, connected=False) as outcast:
        collector.wait_failed("connect")
        assert_untouched(chat(outcast))
        assert_not_recording(rate(outcast, message_id), "agent")
    assert_recorded(server, collector, message_id)
