"""A vote by HTTP: its event, its revisions, and many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from store_kinds import ON_BOTH_STORES

from feedback_blueprint.model import Vote


@ON_BOTH_STORES
def test_a_vote_is_accepted_with_its_event(post, events, message_id):
    response = post(
        category="informative", message="Just what I needed", metadata={"page": 3, "beta": True}
    )
    assert response.status_code == 202
    receipt = response.json
    assert receipt | {"feedback_id": ""} == {
        "message_id": message_id,
        "feedback_id": "",
        "revision": 1,
        "status": "accepted",
    }
    [event] = events
    assert event == {
        "trace_id": event["trace_id"],
        "rating": "good",
        "category": "informative",
        "message": "Just what I needed",
        "message_id": message_id,
        "feedback_id": receipt["feedback_id"],
        "revision": 1,
        "retracted": False,
        "timestamp": event["timestamp"],
        "page": 3,
        "beta": True,
    }
    assert len(event["trace_id"]) == 32
    assert event["trace_id"] not in response.text


@ON_BOTH_STORES
def test_the_same_vote_again_is_unchanged_and_no_event(post, events):
    first = post(message="m", metadata={"a": 1, "b": 2})
    second = post(message="m", metadata={"b": 2, "a": 1})
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json == first.json | {"status": "unchanged"}
    assert len(events) == 1


def test_what_is_left_out_or_null_or_empty_is_the_same(post, events):
    assert post().status_code == 202
    assert post(category=None, message=None, metadata=None).status_code == 200
    assert post(message="", metadata={}).status_code == 200


def test_a_vote_is_kept_in_few_bytes():
    assert Vote("good", message="").pack() == b'["good"]'
    assert Vote(1, "ü", None, {"b": 1, "a": 2}).pack() == '[1,"ü",null,{"a":2,"b":1}]'.encode()


@pytest.mark.parametrize(
    "change", [{"rating": "bad"}, {"category": "c"}, {"message": "m"}, {"metadata": {"a": 1}}]
)
def test_another_vote_is_another_revision(post, events, change):
    first, second = post(), post(**change)
    assert second.status_code == 202
    assert second.json == first.json | {"revision": 2}
    assert [event["revision"] for event in events] == [1, 2]


def test_a_b_a_are_three_events(post, events):
    for rating in "A", "B", "A":
        assert post(rating=rating).status_code == 202
    assert [(event["rating"], event["revision"]) for event in events] == [
        ("A", 1),
        ("B", 2),
        ("A", 3),
    ]


def test_what_a_new_vote_leaves_out_is_sent_empty(post, events):
    post(category="c", message="m")
    post(rating="bad")
    assert (events[1]["category"], events[1]["message"]) == ("", "")
    assert "category" not in post(rating="bad").json


def test_a_first_vote_sends_nothing_that_was_left_out(post, events):
    post()
    assert not {"category", "message", "score"} & events[0].keys()


@pytest.mark.parametrize("rating", ["good", "👍", 0, -(2**63), 2**63 - 1, "x" * 255, "true"])
def test_a_rating_arrives_as_it_is(post, events, rating):
    assert post(rating=rating).status_code == 202
    assert events[0]["rating"] == rating
    assert type(events[0]["rating"]) is type(rating)


def test_of_a_name_that_is_sent_twice_the_last_counts(post, events, message_id):
    assert post(f'{{"message_id": "{message_id}", "rating": 1, "rating": 2}}').status_code == 202
    assert events[0]["rating"] == 2


@pytest.mark.parametrize("value", [1e300, "", " "])
def test_metadata_may_be_a_float_over_64_bits_and_blank(post, events, value):
    assert post(metadata={"a": value}).status_code == 202
    assert events[0]["a"] == value


def test_an_id_may_be_an_integer(app, client, events, feedback):
    with app.test_request_context():
        feedback.stash(42)
    response = client.post("/feedback", json={"message_id": 42, "rating": 1})
    assert response.json["message_id"] == "42"


@pytest.mark.parametrize("character", ["a", "é", "€", "👍"])
@pytest.mark.parametrize("size", [255, 256, 1000, 4095])
def test_a_long_comment_is_split_between_characters_and_not_cut(post, events, character, size):
    comment = character * (size // len(character.encode()))
    assert post(message=comment).status_code == 202
    [event] = events
    names = [name for name in event if name == "message" or name.startswith("message_")]
    names.remove("message_id")
    assert "".join(event[name] for name in names) == comment
    assert names == ["message", *(f"message_{n}" for n in range(2, len(names) + 1))]
    assert all(len(event[name].encode()) <= 255 for name in names)


def test_the_largest_event_has_at_most_64_attributes(app, client, events, feedback):
    with app.test_request_context():
        feedback.stash("m", context={f"c{n}": n for n in range(16)})
    metadata = {f"m{n}": n for n in range(16)}
    body = {"message_id": "m", "rating": "r", "category": "c", "message": "€" * 1365}
    response = client.post("/feedback", json=body | {"metadata": metadata})
    assert response.status_code == 202
    ids_of_the_agent_and_a_score = 3
    assert len(events[0]) + ids_of_the_agent_and_a_score <= 64
    assert events[0]["trace_id"]


def test_ours_win_over_context_and_context_over_metadata(app, client, events, feedback):
    with app.test_request_context():
        feedback.stash("m", context={"model": "server", "rating": "context"})
    client.post("/feedback", json={"message_id": "m", "rating": 1, "metadata": {"model": "user"}})
    assert (events[0]["model"], events[0]["rating"]) == ("server", 1)


@ON_BOTH_STORES
def test_the_same_vote_forty_times_at_once_makes_one_event(app, events, message_id):
    def post(_):
        body = {"message_id": message_id, "rating": "good"}
        return app.test_client().post("/feedback", json=body).status_code

    with ThreadPoolExecutor(40) as pool:
        assert sorted(pool.map(post, range(40))) == [200] * 39 + [202]
    assert len(events) == 1


@ON_BOTH_STORES
def test_different_votes_at_once_make_an_event_each(app, events, message_id):
    def post(number):
        body = {"message_id": message_id, "rating": number % 20}
        return app.test_client().post("/feedback", json=body).json["revision"]

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(post, range(20))) == list(range(1, 21))
    assert sorted(event["revision"] for event in events) == list(range(1, 21))
