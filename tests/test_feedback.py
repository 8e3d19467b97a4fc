"""The routes: votes, their revisions, and every refusal."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_blueprint import FeedbackBlueprint, errors
from feedback_blueprint.signals import feedback_recorded
from feedback_blueprint.testing import capture_feedback


@pytest.fixture
def post(client, message_id):
    """Vote on the message; `raw` is sent as it is."""

    def post(raw=None, **fields):
        if raw is None:
            raw = json.dumps({"message_id": message_id, "rating": "good"} | fields)
        return client.post("/feedback", data=raw, content_type="application/json")

    return post


def refused(response, status, code):
    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.mimetype == "application/problem+json"
    assert response.json["status"] == status
    assert {"type", "title", "detail"} < response.json.keys()
    return True


# Votes


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
        "page": 3,
        "beta": True,
    }
    assert len(event["trace_id"]) == 32
    assert event["trace_id"] not in response.text


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


def test_the_same_vote_forty_times_at_once_makes_one_event(app, events, message_id):
    def post(_):
        body = {"message_id": message_id, "rating": "good"}
        return app.test_client().post("/feedback", json=body).status_code

    with ThreadPoolExecutor(40) as pool:
        assert sorted(pool.map(post, range(40))) == [200] * 39 + [202]
    assert len(events) == 1


def test_different_votes_at_once_make_an_event_each(app, events, message_id):
    def post(number):
        body = {"message_id": message_id, "rating": number % 20}
        return app.test_client().post("/feedback", json=body).json["revision"]

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(post, range(20))) == list(range(1, 21))
    assert sorted(event["revision"] for event in events) == list(range(1, 21))


# Retraction and read-back


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
    }
    assert refused(client.delete(url), 404, "unknown-message")
    assert post().json["revision"] == 3
    assert events[2]["retracted"] is False
    assert len(events) == 3


def test_without_a_vote_there_is_nothing_to_retract(client, events, message_id):
    assert refused(client.delete(f"/feedback?message_id={message_id}"), 404, "unknown-message")
    assert refused(client.delete("/feedback?message_id=nowhere"), 404, "unknown-message")
    assert events == []


@pytest.mark.parametrize("query", ["", "?message_id=a&message_id=b", "?id=a"])
def test_retracting_takes_exactly_one_message(client, query):
    assert refused(client.delete(f"/feedback{query}"), 422, "invalid")


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


@pytest.mark.parametrize("count", [0, 101])
def test_reading_takes_one_to_a_hundred_messages(client, count):
    query = "&".join(f"message_id={n}" for n in range(count))
    assert refused(client.get(f"/feedback?{query}"), 422, "invalid")
    assert client.get("/feedback?" + query[: query.rfind("&")]).status_code == (
        200 if count else 422
    )


# Refusals

RESERVED = [
    *("trace_id", "rating", "category", "message", "message_2", "message_17", "message_id"),
    *("feedback_id", "revision", "score", "retracted", "id", "timestamp", "type"),
    *("ingest_source", "eventType", "accountId", "appId", "appName", "entityGuid", "host"),
    *("realAgentId", "nr.guid"),
]


@pytest.mark.parametrize(
    "raw", ["", "{", "nul", "{'a': 1}", b"\xff", '{"a": NaN}', "[" * 60000, "1" * 5000]
)
def test_malformed_json(post, raw):
    assert refused(post(raw), 400, "malformed-json")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_not_json(client, content_type):
    response = client.post("/feedback", data="{}", content_type=content_type)
    assert refused(response, 415, "not-json")


def test_a_json_content_type_with_parameters_is_fine(client, message_id):
    body = json.dumps({"message_id": message_id, "rating": 1})
    for content_type in "application/json; charset=utf-8", "application/vnd.api+json":
        response = client.post("/feedback", data=body, content_type=content_type)
        assert response.status_code in (200, 202)


def test_too_large(post, client):
    assert refused(post(" " * 65537), 413, "too-large")
    assert refused(post(" " * 65536), 400, "malformed-json")


def test_too_large_for_an_app_that_read_it_first(app, client):
    app.before_request(lambda: request.get_data() and None)
    response = client.post("/feedback", data=" " * 65537, content_type="application/json")
    assert refused(response, 413, "too-large")


def test_too_large_for_a_smaller_limit_of_the_app(app, post):
    app.config["MAX_CONTENT_LENGTH"] = 100
    assert refused(post(" " * 101), 413, "too-large")


@pytest.mark.parametrize("raw", ["[]", "null", "5", '"text"', "{}"])
def test_not_an_object_or_an_empty_one(post, raw):
    response = post(raw)
    assert refused(response, 422, "invalid")
    assert response.json["errors"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rating", None),
        ("rating", True),
        ("rating", 1.5),
        ("rating", 1.0),
        ("rating", ""),
        ("rating", " \t"),
        ("rating", "x" * 256),
        ("rating", "é" * 128),
        ("rating", "\ud800"),
        ("rating", 2**63),
        ("rating", -(2**63) - 1),
        ("rating", ["good"]),
        ("message_id", None),
        ("message_id", ""),
        ("message_id", True),
        ("message_id", 1.5),
        ("message_id", "x" * 256),
        ("message_id", "\udfff"),
        ("message_id", {}),
        ("category", ""),
        ("category", 5),
        ("category", "x" * 256),
        ("category", "a\ud800b"),
        ("message", 5),
        ("message", ["m"]),
        ("message", "x" * 4096),
        ("message", "é" * 2048),
        ("message", "\ud83d"),
        ("metadata", []),
        ("metadata", "text"),
        ("metadata", {f"k{n}": n for n in range(17)}),
        ("metadata", {"a": {}}),
        ("metadata", {"a": []}),
        ("metadata", {"a": None}),
        ("metadata", {"a": "x" * 256}),
        ("metadata", {"a": "\ud800"}),
        ("metadata", {"a": 2**63}),
        ("metadata", {"a": -(2**63) - 1}),
        ("metadata", {"": 1}),
        ("metadata", {"1a": 1}),
        ("metadata", {"a b": 1}),
        ("metadata", {"a-b": 1}),
        ("metadata", {"é": 1}),
        ("metadata", {"a" * 256: 1}),
        ("metadata", {"a\n": 1}),
        ("metadata", {"\ud800": 1}),
        *(("metadata", {name: 1}) for name in RESERVED),
        ("extra", 1),
    ],
)
def test_what_does_not_fit_is_named_by_its_field(post, events, client, message_id, field, value):
    response = post(**{field: value})
    assert refused(response, 422, "invalid")
    assert list(response.json["errors"]) == [field]
    assert events == []
    assert post().json["revision"] == 1, "a refusal leaves no trace"


def test_numbers_too_large_for_a_float_are_refused(post):
    response = post('{"message_id": "m", "rating": 1, "metadata": {"a": 1e999}}')
    assert refused(response, 422, "invalid")


def test_an_unknown_message(post, events):
    assert refused(post(message_id="nowhere"), 404, "unknown-message")
    assert events == []


def test_too_many_revisions(post, events):
    for number in range(20):
        assert post(rating=number).status_code == 202
    assert refused(post(rating=20), 429, "too-many-revisions")
    assert post(rating=19).status_code == 200
    assert len(events) == 20


class DownStore:
    """A store that is down."""

    def part_of(self, _):
        return ""

    def __getattr__(self, name):
        def down(*args, **kwargs):
            raise errors.StoreUnavailable("Gone.")

        return down


def test_store_unavailable():
    app = Flask(__name__)
    app.register_blueprint(FeedbackBlueprint(store=DownStore()))
    client = app.test_client()
    with capture_feedback(app) as events:
        for response in (
            client.post("/feedback", json={"message_id": "m", "rating": 1}),
            client.get("/feedback?message_id=m"),
            client.delete("/feedback?message_id=m"),
        ):
            assert refused(response, 503, "store-unavailable")
            assert int(response.headers["Retry-After"]) > 0
            assert response.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert events == []


def test_agent_not_recording_keeps_nothing(app, client, feedback):
    with capture_feedback(app):
        message_id = client.get("/chat").json["message_id"]
    body = {"message_id": message_id, "rating": "good"}
    for response in (
        client.post("/feedback", json=body),
        client.delete(f"/feedback?message_id={message_id}"),
    ):
        assert refused(response, 503, "agent-not-recording")
        assert int(response.headers["Retry-After"]) > 0
        assert "newrelic-admin" in response.json["detail"]
    with capture_feedback(app):
        assert client.post("/feedback", json=body).json["revision"] == 1


def test_an_agent_that_fails_does_not_lose_the_vote(app, client, events, message_id, monkeypatch):
    body = {"message_id": message_id, "rating": "good"}
    [votes] = app.extensions["feedback_blueprint"].values()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with monkeypatch.context() as patch:
        patch.setattr(votes.agent, "record", lambda _: 1 / 0)
        assert client.post("/feedback", json=body).status_code == 500
    response = client.post("/feedback", json=body)
    assert (response.status_code, response.json["revision"]) == (202, 1)
    assert len(events) == 1


def test_the_host_apps_errors_are_left_alone(client):
    assert client.get("/nowhere").mimetype == "text/html"
    assert client.put("/feedback").status_code == 405
    assert client.put("/feedback").mimetype == "text/html"


# Low limits of the agent


@pytest.mark.parametrize(
    ("limit", "fields", "status"),
    [
        (100, {"message": "x" * 300}, 202),
        (100, {"message": "x" * 4095}, 503),
        (100, {"rating": "x" * 101}, 503),
        (100, {"metadata": {"a": "x" * 101}}, 503),
        (31, {}, 503),
        (2, {"message": "👍"}, 503),
        (4095, {"message": "x" * 4095}, 202),
    ],
)
def test_an_agent_that_would_cut_a_vote_is_named(
    app, post, events, monkeypatch, limit, fields, status
):
    [votes] = app.extensions["feedback_blueprint"].values()
    monkeypatch.setattr(votes.agent, "check", lambda: limit)
    response = post(**fields)
    assert response.status_code == status
    if status == 503:
        assert "max_attribute_value" in response.json["detail"]
        assert events == []
    else:
        comment = "".join(str(events[0].get(f"message_{n}", "")) for n in range(2, 60))
        assert events[0]["message"] + comment == fields["message"]


# Scales


@pytest.fixture
def scaled(store_url):
    """Ask for an app with some configuration."""

    def scaled(**config):
        app, feedback = Flask(__name__), FeedbackBlueprint()
        app.config.update(FEEDBACK_STORE_URL=store_url, **config)
        app.register_blueprint(feedback)
        app.get("/chat")(lambda: str(feedback.stash()))
        return app

    return scaled


@pytest.mark.parametrize(
    ("ratings", "rating", "score"),
    [
        ({"bad": 0, "good": 1}, "good", 1),
        ({"bad": -1.5, "good": 1}, "bad", -1.5),
        (range(1, 6), 2, 0.25),
        (range(1, 6), 5, 1),
    ],
)
def test_a_declared_rating_has_a_score(scaled, ratings, rating, score):
    app = scaled(FEEDBACK_RATINGS=ratings)
    with capture_feedback(app) as events:
        client = app.test_client()
        body = {"message_id": client.get("/chat").text, "rating": rating}
        assert client.post("/feedback", json=body).status_code == 202
        client.delete(f"/feedback?message_id={body['message_id']}")
    assert events[0]["score"] == score
    assert "score" not in events[1], "a retraction has no score to average"


@pytest.mark.parametrize(
    ("config", "fields", "allowed"),
    [
        ({"FEEDBACK_RATINGS": {"bad": 0, "good": 1}}, {"rating": "ugly"}, "bad, good"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {"rating": 4}, "1, 2, 3"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {"rating": "1"}, "1, 2, 3"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {"rating": True}, ""),
        ({"FEEDBACK_CATEGORIES": ["a", "b"]}, {"rating": 1, "category": "c"}, "a, b"),
    ],
)
def test_off_the_scale_is_refused_with_what_is_allowed(scaled, config, fields, allowed):
    app = scaled(**config)
    with capture_feedback(app) as events:
        client = app.test_client()
        response = client.post("/feedback", json={"message_id": client.get("/chat").text} | fields)
    assert refused(response, 422, "invalid")
    assert allowed in json.dumps(response.json["errors"])
    assert events == []


def test_a_category_can_be_left_out_of_a_declared_list(scaled):
    app = scaled(FEEDBACK_CATEGORIES=["a"])
    with capture_feedback(app):
        client = app.test_client()
        body = {"message_id": client.get("/chat").text, "rating": 1}
        assert client.post("/feedback", json=body).status_code == 202
        assert client.post("/feedback", json=body | {"category": "a"}).status_code == 202


# In Python


def test_record_and_retract_do_what_the_routes_do(app, feedback, events):
    with app.test_request_context():
        message_id = feedback.stash()
        receipt = feedback.record(message_id, "good", "c", "m", {"a": 1})
        assert (receipt.status, receipt.revision) == ("accepted", 1)
        assert feedback.record(message_id, "good", "c", "m", {"a": 1}).status == "unchanged"
        assert feedback.retract(message_id).status == "retracted"
        with pytest.raises(errors.UnknownMessage):
            feedback.retract(message_id)
        with pytest.raises(errors.Invalid) as invalid:
            feedback.record(message_id, True)
        with pytest.raises(errors.UnknownMessage):
            feedback.retract("half \ud800")
    assert list(invalid.value.errors) == ["rating"]
    assert [event["revision"] for event in events] == [1, 2]


def test_the_signal_tells_of_each_event(app, feedback, post, client, events, message_id):
    seen = []

    def receive(sender, **told):
        seen.append((sender, told))

    with feedback_recorded.connected_to(receive):
        post()
        post()
        client.delete(f"/feedback?message_id={message_id}")
    assert [sender for sender, _ in seen] == [app, app]
    assert [told["attributes"] for _, told in seen] == events
    assert {told["message_id"] for _, told in seen} == {message_id}
    assert {told["trace_id"] for _, told in seen} == {events[0]["trace_id"]}


# Whatever JSON can hold

text = st.text(st.characters(exclude_categories=()), max_size=300)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
bodies = json_values | st.fixed_dictionaries(
    {"message_id": st.just("m") | json_values, "rating": scalars},
    optional={
        "category": scalars,
        "message": st.none() | text,
        "metadata": st.dictionaries(text | st.from_regex(r"[a-z]{1,5}", fullmatch=True), scalars),
        "other": json_values,
    },
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bodies)
def test_whatever_is_sent_is_recorded_whole_or_refused(app, client, events, feedback, body):
    with app.test_request_context():
        message_id = feedback.stash()
    if isinstance(body, dict) and body.get("message_id") == "m":
        body = body | {"message_id": message_id}
    events.clear()
    response = client.post("/feedback", data=json.dumps(body), content_type="application/json")
    assert response.status_code in (200, 202, 400, 404, 422)
    assert len(events) == (response.status_code == 202)
    for event in events:
        assert event["trace_id"]
        assert event["rating"] == body["rating"]
        for value in event.values():
            if isinstance(value, str):
                assert len(value.encode()) <= 255
            elif isinstance(value, float):
                assert math.isfinite(value)
            else:
                assert -(2**63) <= value < 2**63


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_whatever_bytes_are_sent_are_refused(client, events, raw):
    response = client.post("/feedback", data=raw, content_type="application/json")
    assert response.status_code in (400, 422)
