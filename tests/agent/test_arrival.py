"""From a thumb to the collector, through gunicorn and the real agent: all of it arrives, whole."""

from __future__ import annotations

import base64
import json

import pytest
from chatting import (
    assert_recorded,
    assert_untouched,
    chat,
    comment_of,
    made,
    rate,
)
from collector import Collector
from gunicorn_server import Gunicorn


@pytest.mark.parametrize(
    "kind", ["plain", "async", "generator", "async-generator", "traced-generator"]
)
def test_the_whole_vote_arrives_with_the_trace_of_its_message(
    server: Gunicorn, collector: Collector, kind: str
) -> None:
    message = chat(server, f"/{kind}")
    message_id = message.headers["X-Message-ID"]
    vote = {"rating": "good", "category": "informative", "message": "Just what I needed"}
    metadata = {"page": "/help", "seconds": 1.5, "words": 12, "mobile": False}
    answer = rate(server, message_id, **vote, metadata=metadata)
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
        **vote,
        **metadata,
        "message_id": message_id,
        "feedback_id": feedback_id,
        "revision": 1,
        "retracted": False,
        "model": "parrot-1",
        "temperature": 0.5,
        "prompt_version": 3,
    }


@pytest.mark.parametrize("path", ["named", "computed", "named-stream", "text", "stash", "thread"])
def test_every_way_to_name_a_message_leads_to_its_trace(
    server: Gunicorn, collector: Collector, path: str
) -> None:
    message = chat(server, f"/{path}")
    event = assert_recorded(server, collector, message.json["message_id"])
    assert event["trace_id"] == message.headers["X-Trace-ID"] != ""


def test_a_changed_vote_is_a_revision_and_the_same_vote_makes_no_event(
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


def traced(trace_id: object) -> dict[str, str]:
    """New Relic's own header, by which a caller in the same account names the trace."""
    caller = {"ty": "App", "ac": "12345", "tk": "12345", "ap": "1", "tx": "1", "ti": 1}
    payload = json.dumps({"v": [0, 1], "d": caller | {"tr": trace_id}})
    return {"newrelic": base64.b64encode(payload.encode()).decode()}


def test_a_trace_id_that_is_not_a_hexadecimal_number_is_kept(
    server: Gunicorn, collector: Collector
) -> None:
    message_id = chat(server, headers=traced("Not hex: é")).headers["X-Message-ID"]
    assert assert_recorded(server, collector, message_id)["trace_id"] == "Not hex: é"


def test_a_message_whose_trace_id_no_event_can_carry_is_not_kept(server: Gunicorn) -> None:
    for trace_id in 5, {"not": "text"}, "x" * 256:
        answer = chat(server, headers=traced(trace_id))
        assert answer.headers["X-Trace-ID"] == str(trace_id)
        assert_untouched(answer)
    assert "header of the client gives a trace ID that no event can carry" in server.log.read_text()


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
