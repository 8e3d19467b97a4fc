"""A vote is taken back, and read back."""

from __future__ import annotations

import pytest
from problems import assert_refused
from store_kinds import ON_BOTH_STORES

pytestmark = ON_BOTH_STORES


def test_a_vote_can_be_retracted_and_cast_again(post, client, events, message_id):
    url = f"/feedback?message_id={message_id}"
    first = post(category="c", message="m").json
    answer = client.delete(url)
    assert answer.status_code == 202
    assert answer.json == first | {"revision": 2, "status": "retracted"}
    assert events[1] == events[0] | {
        "rating": "retracted",
        "category": "",
        "message": "",
        "retracted": True,
        "revision": 2,
        "timestamp": events[1]["timestamp"],
    }
    assert_refused(client.delete(url), 404, "unknown-message")
    assert post().json["revision"] == 3
    assert events[2]["retracted"] is False
    assert len(events) == 3


def test_without_a_vote_there_is_nothing_to_retract(client, events, message_id):
    nothing = client.delete(f"/feedback?message_id={message_id}")
    assert_refused(nothing, 404, "unknown-message")
    assert "no vote of yours" in nothing.json["detail"]
    unknown = client.delete("/feedback?message_id=nowhere")
    assert_refused(unknown, 404, "unknown-message")
    assert "no such message" in unknown.json["detail"]
    assert events == []


@pytest.mark.parametrize("query", ["", "?message_id=a&message_id=b", "?id=a"])
def test_retracting_takes_exactly_one_message(client, query):
    assert_refused(client.delete(f"/feedback{query}"), 422, "invalid")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_query_of_other_bytes_than_utf_8_is_refused(client, method):
    environ = {"QUERY_STRING": "message_id=\xff"}  # as gevent's own server passes on the byte FF
    response = client.open("/feedback", method=method, environ_overrides=environ)
    assert_refused(response, 422, "invalid")
    assert response.json["errors"].keys() == {"message_id"}


def test_votes_are_read_back_in_the_order_asked(client, post, message_id):
    other = client.get("/chat").json["message_id"]
    receipt = post(rating=0, category="c", message="m", metadata={"a": 1}).json
    response = client.get(f"/feedback?message_id={other}&message_id=no&message_id={message_id}")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    del receipt["status"]
    assert response.json == {
        "feedback": [receipt | {"rating": 0, "category": "c", "message": "m"}],
        "rateable": [other, message_id],
    }


def test_a_retracted_vote_is_not_read_back(client, post, message_id):
    post()
    client.delete(f"/feedback?message_id={message_id}")
    response = client.get(f"/feedback?message_id={message_id}")
    assert response.json == {"feedback": [], "rateable": [message_id]}


def test_a_message_that_is_asked_for_twice_is_read_once(client, post, message_id):
    post()
    query = "&".join([f"message_id={message_id}"] * 100)
    response = client.get(f"/feedback?{query}")
    assert response.json["rateable"] == [message_id]
    assert len(response.json["feedback"]) == 1


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 200), (100, 200), (101, 422)])
def test_reading_takes_one_to_a_hundred_messages(client, count, status):
    query = "&".join(f"message_id={n}" for n in range(count))
    response = client.get(f"/feedback?{query}")
    assert response.status_code == status
    if status == 422:
        assert_refused(response, 422, "invalid")
