"""Every refusal of the routes: what is sent, what is unknown, what is down."""

from __future__ import annotations

import json

import pytest
from broken_store import BrokenStore
from flask import Flask
from problems import assert_refused
from werkzeug.routing import BaseConverter

from feedback_blueprint import FeedbackBlueprint, errors
from feedback_blueprint.testing import capture_feedback

RESERVED = [
    *("trace_id", "rating", "category", "message", "message_2", "message_17", "message_id"),
    *("feedback_id", "revision", "score", "retracted", "id", "timestamp", "type"),
    *("ingest_source", "eventType", "accountId", "appId", "appName", "entityGuid", "host"),
    *("realAgentId", "nr.guid"),
]


@pytest.mark.parametrize(
    "raw",
    ["", "{", "nul", "{'a': 1}", b"\xff", '{"": NaN}', '{"": -Infinity}', "[" * 60000, "1" * 5000],
)
def test_malformed_json_is_refused(post, raw):
    assert_refused(post(raw), 400, "malformed-json")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_what_is_not_json_is_refused(client, content_type):
    response = client.post("/feedback", data="{}", content_type=content_type)
    assert_refused(response, 415, "not-json")


def test_a_json_content_type_with_parameters_is_fine(client, message_id):
    body = json.dumps({"message_id": message_id, "rating": 1})
    for content_type in "application/json; charset=utf-8", "application/vnd.api+json":
        response = client.post("/feedback", data=body, content_type=content_type)
        assert response.status_code in (200, 202)


@pytest.mark.parametrize("raw", ["[]", "null", "5", '"text"'])
def test_what_is_not_an_object_is_refused(post, raw):
    response = post(raw)
    assert_refused(response, 422, "invalid")
    assert response.json["errors"] == {"_schema": ["Send an object."]}


def test_a_field_that_the_apps_own_json_cannot_write_is_refused(app, post):
    app.json.ensure_ascii = False
    assert_refused(post('{"\\ud800": 1}'), 422, "invalid")


def test_an_empty_object_is_refused(post):
    response = post("{}")
    assert_refused(response, 422, "invalid")
    assert response.json["errors"].keys() == {"message_id", "rating"}


METADATA_VALUES = [{}, [], None, "x" * 256, "\ud800", 2**63, -(2**63) - 1]
METADATA_NAMES = ["", "1a", "a b", "a-b", "é", "a" * 256, "a\n", "\ud800", *RESERVED]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("rating", [None, True, 1.5, 1.0, "", " \t", "x" * 256, "é" * 128, "\ud800"]),
        ("rating", [2**63, -(2**63) - 1, ["good"]]),
        ("message_id", [None, "", True, 1.5, "x" * 256, "\udfff", {}]),
        ("category", ["", 5, "x" * 256, "a\ud800b"]),
        ("message", [5, ["m"], "x" * 4096, "é" * 2048, "\ud83d"]),
        ("metadata", [[], "text", {f"k{n}": n for n in range(17)}]),
        ("metadata", [{"a": value} for value in METADATA_VALUES]),
        ("metadata", [{name: 1} for name in METADATA_NAMES]),
        ("extra", [1]),
    ],
)
def test_what_does_not_fit_is_named_by_its_field(post, events, field, values):
    for value in values:
        response = post(**{field: value})
        assert response.status_code == 422, value
        assert_refused(response, 422, "invalid")
        assert list(response.json["errors"]) == [field]
    assert events == []
    assert post().json["revision"] == 1, "a refusal leaves no trace"


def test_numbers_too_large_for_a_float_are_refused(post):
    response = post('{"message_id": "m", "rating": 1, "metadata": {"a": 1e999}}')
    assert_refused(response, 422, "invalid")


@pytest.mark.parametrize("name", ["message_id", "rating"])
def test_what_is_needed_is_named_if_it_is_missing(client, events, message_id, name):
    body = {"message_id": message_id, "rating": 1}
    del body[name]
    response = client.post("/feedback", json=body)
    assert_refused(response, 422, "invalid")
    assert list(response.json["errors"]) == [name]


def test_a_vote_on_an_unknown_message_is_refused(post, events):
    assert_refused(post(message_id="nowhere"), 404, "unknown-message")
    assert events == []


def test_the_21st_vote_of_a_rater_is_refused_with_429(post, events):
    for number in range(20):
        assert post(rating=number).status_code == 202
    assert_refused(post(rating=20), 429, "too-many-revisions")
    assert post(rating=19).status_code == 200
    assert len(events) == 20


def test_a_store_that_is_down_is_answered_503():
    app, store = Flask(__name__), BrokenStore(errors.StoreUnavailable("Gone."))
    app.register_blueprint(FeedbackBlueprint(store=store))
    client = app.test_client()
    with capture_feedback(app) as events:
        for response in (
            client.post("/feedback", json={"message_id": "m", "rating": 1}),
            client.get("/feedback?message_id=m"),
            client.delete("/feedback?message_id=m"),
        ):
            assert_refused(response, 503, "store-unavailable")
            assert int(response.headers["Retry-After"]) > 0
            assert response.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert events == []


def test_a_vote_is_refused_and_not_kept_if_the_agent_does_not_record(app, client, caplog):
    with capture_feedback(app):
        message_id = client.get("/chat").json["message_id"]
    body = {"message_id": message_id, "rating": "good"}
    for response in (
        client.post("/feedback", json=body),
        client.delete(f"/feedback?message_id={message_id}"),
    ):
        assert_refused(response, 503, "agent-not-recording")
        assert int(response.headers["Retry-After"]) > 0
        assert "newrelic" not in response.text.lower(), "what to do about it is for the log"
        assert "NEW_RELIC" not in response.text
    assert "newrelic-admin" in caplog.text
    with capture_feedback(app):
        assert client.post("/feedback", json=body).json["revision"] == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "ODD"])
def test_a_method_that_does_not_exist_is_refused(app, client, feedback, method):
    app.register_blueprint(feedback, name="again", url_prefix="/<int:tenant>")
    app.get("/")(lambda: feedback.stash() and "")
    for path in "/feedback", "/7/feedback":
        response = client.open(path, method=method)
        assert_refused(response, 405, "method-not-allowed")
        assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
        assert response.headers["Allow"] in response.json["detail"]


def test_a_method_at_our_path_that_the_app_answers_is_the_apps(app, client):
    app.put("/feedback")(lambda: "the app's own")
    assert client.put("/feedback").text == "the app's own"
    assert "PUT" in client.patch("/feedback").headers["Allow"]


def test_what_flask_does_by_itself_is_left_to_it(client, message_id):
    head = client.head(f"/feedback?message_id={message_id}")
    assert (head.status_code, head.text) == (200, "")
    options = client.options("/feedback")
    assert options.status_code == 200
    assert set(options.allow) == {"DELETE", "GET", "HEAD", "OPTIONS", "POST"}


def test_the_host_apps_errors_are_left_alone(app, client):
    app.post("/only-post")(lambda: "")
    for response in client.get("/nowhere"), client.get("/only-post"), client.put("/only-post"):
        assert response.status_code in (404, 405)
        assert response.mimetype == "text/html"
    assert client.put("/chat").mimetype == "text/html"


def test_a_method_that_the_app_refuses_runs_no_converter_of_the_app(app, client):
    class User(BaseConverter):
        def to_python(self, value):
            raise LookupError(f"There is no user {value}.")

    app.url_map.converters["user"] = User
    app.get("/users/<user:user>")(lambda user: user)
    assert client.post("/users/7").status_code == 405


def test_a_converter_that_fails_leaves_a_refused_method_to_flask(app, client, feedback):
    class Tenant(BaseConverter):
        def to_python(self, value):
            raise LookupError(f"There is no tenant {value}.")

    app.url_map.converters["tenant"] = Tenant
    app.register_blueprint(feedback, name="again", url_prefix="/<tenant:tenant>")
    response = client.put("/7/feedback")
    assert (response.status_code, response.mimetype) == (405, "text/html")
