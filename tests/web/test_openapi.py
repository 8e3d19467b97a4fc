"""The OpenAPI document: valid, the app's own, and never contradicted by what the routes answer."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from flask import Blueprint
from host_app import make_app
from hypothesis import assume, given, settings
from jsonschema import Draft202012Validator

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.errors import Refusal
from feedback_blueprint.testing import capture_feedback

SCALE = {"FEEDBACK_RATINGS": range(1, 4), "FEEDBACK_CATEGORIES": ["informative", "wrong"]}
PATH = "/llm/feedback"


@pytest.fixture
def app_with(store_url):
    """Ask for an app with some configuration."""

    def app_with(**config):
        app = make_app(**{"FEEDBACK_STORE_URL": store_url} | config)
        app.register_blueprint(FeedbackBlueprint(), url_prefix="/llm")
        return app

    return app_with


def document_of(app, name="feedback"):
    result = app.test_cli_runner().invoke(args=[name, "openapi"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.fixture
def schemathesis():
    """Imported here alone: each process collects all tests, and this takes it half a second."""
    return importlib.import_module("schemathesis")


@pytest.fixture
def described(schemathesis):
    """Ask for what schemathesis makes of the document of an app."""
    # Only in ASCII are characters as many as bytes
    config = schemathesis.Config.from_dict({"generation": {"codec": "ascii"}})

    def described(app):
        schema = schemathesis.openapi.from_dict(document_of(app), config=config)
        schema.app = app
        return schema

    return described


# What is in it


def test_the_document_is_valid(app_with, described):
    described(app_with(**SCALE)).validate()


def test_the_document_lists_the_ratings_and_categories_that_the_app_declares(app_with):
    fields = document_of(app_with(**SCALE))["components"]["schemas"]["Feedback"]["properties"]
    assert fields["rating"]["enum"] == [1, 2, 3]
    assert fields["category"]["enum"] == ["informative", "wrong", None]


def test_the_document_has_the_path_of_each_registration(app_with):
    feedback, parent = FeedbackBlueprint("deep"), Blueprint("api", __name__, url_prefix="/api")
    parent.register_blueprint(feedback, url_prefix="/v1")
    app = app_with()
    app.register_blueprint(parent)
    app.register_blueprint(feedback, name="again", url_prefix="/<int:tenant>")
    document = document_of(app, "again")
    assert list(document["paths"]) == ["/api/v1/feedback", "/{tenant}/feedback"]
    [variable] = document["paths"]["/{tenant}/feedback"]["parameters"]
    assert variable["schema"]["type"] == "string"
    del variable["schema"]
    assert variable == {"in": "path", "name": "tenant", "required": True}
    assert list(document_of(app)["paths"]) == [PATH]


def test_the_document_has_every_refusal(app_with):
    document = document_of(app_with())
    responses = json.dumps(document["paths"][PATH]["post"]["responses"])
    others = document["components"]["responses"]
    assert '"method-not-allowed"' in json.dumps(others["MethodNotAllowed"])
    assert all(
        f'"{refusal.code}"' in responses
        for refusal in Refusal.__subclasses__()
        if refusal.__name__ not in others
    )


def test_without_apispec_the_command_names_the_remedy(app_with, monkeypatch):
    monkeypatch.delitem(sys.modules, "feedback_blueprint.web.openapi", raising=False)
    monkeypatch.setitem(sys.modules, "apispec", None)
    result = app_with().test_cli_runner().invoke(args=["feedback", "openapi"])
    assert result.exit_code == 1
    assert "feedback-blueprint[openapi]" in result.output


# What the routes answer


EVERY_NAME = {"a" * 255: "x" * 255, "A_9.b": 2**63 - 1, "_": -(2**63), "f": 1.5, "b": True}


@pytest.mark.parametrize(
    ("field", "values", "fits"),
    [
        ("message_id", ["x" * 255, 0], True),
        ("message_id", ["x" * 256, "", " \x1c\x85\u3000", None, True, 1.5, {}], False),
        ("rating", ["x" * 255, "\x1cx", 0, 2**63 - 1, -(2**63)], True),
        ("rating", ["x" * 256, "", "\n", None, True, 1.5, [1], 2**63, -(2**63) - 1], False),
        ("category", ["x" * 255, None], True),
        ("category", ["x" * 256, "", "\x1f", 5], False),
        ("message", ["x" * 4095, "", None], True),
        ("message", ["x" * 4096, 5], False),
        ("metadata", [None, {}, EVERY_NAME, {f"k{n}": n for n in range(16)}], True),
        ("metadata", [5, [], {f"k{n}": n for n in range(17)}, {"a" * 256: 1}, {"1": 1}], False),
        ("metadata", [{"": 1}, {"a-b": 1}, {"rating": 1}, {"message_17": 1}, {"nr.x": 1}], False),
        ("metadata", [{"k": v} for v in ("x" * 256, 2**63, -(2**63) - 1, None, [], {})], False),
        ("other", [1, None], False),
    ],
)
def test_the_schema_admits_what_the_route_takes(app_with, field, values, fits):
    assert_agreed(app_with(), field, values, fits)


@pytest.mark.parametrize(
    ("field", "values", "fits"),
    [
        ("rating", [1, 3], True),
        ("rating", [0, 4, "1", "good"], False),
        ("category", ["informative", "wrong", None], True),
        ("category", ["", "other"], False),
    ],
)
def test_the_schema_of_a_scale_admits_what_the_route_takes(app_with, field, values, fits):
    assert_agreed(app_with(**SCALE), field, values, fits)


def assert_agreed(app, field, values, fits):
    schema = Draft202012Validator(document_of(app)["components"]["schemas"]["Feedback"])
    for value in values:
        body = {"message_id": "nowhere", "rating": 1, field: value}
        with capture_feedback(app):
            taken = app.test_client().post(PATH, json=body).status_code != 422
        assert (taken, schema.is_valid(body)) == (fits, fits), value


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_answer_is_undocumented(app_with, described, schemathesis, method, mode):
    """With messages that can be rated, so that valid votes get past the schema, and come twice."""
    app, is_valid = app_with(FEEDBACK_MAX_REVISIONS=1000), mode == "POSITIVE"
    operation = described(app)[PATH][method]
    requests = operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode])

    @settings(max_examples=10, derandomize=True, deadline=None)
    @given(case=requests)
    def each_answer_is_documented(case):
        # JSON Schema takes 1.0 for 1. Here a float is not a rating, and may be over 64 bits.
        assume(not holds_whole_float(case.body))
        if is_valid:
            make_rateable(case, app)
        for _ in range(2):
            response = case.call()
            case.validate_response(response)
            if is_valid and method == "POST":
                assert response.status_code in (200, 202), response.text

    with capture_feedback(app):
        each_answer_is_documented()


def holds_whole_float(value):
    if isinstance(value, (dict, list)):
        return any(map(holds_whole_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


def make_rateable(case, app):
    feedback, voting = app.blueprints["feedback"], case.method == "POST"
    asked = case.body["message_id"] if voting else case.query["message_id"]
    with app.app_context():
        for message_id in asked if isinstance(asked, list) else [asked]:
            if feedback.stash(message_id) and not voting:
                feedback.submit(message_id, 1)


def test_each_documented_status_is_answered_as_described(app_with, described, schemathesis):
    app = app_with(FEEDBACK_MAX_REVISIONS=2, **SCALE)
    storeless = app_with(FEEDBACK_STORE_URL="redis://127.0.0.1:1/0")
    schema = described(app)
    answered = {"post": set(), "get": set(), "delete": set()}

    def send(method, app=app, **request):
        response = app.test_client().open(PATH, method=method, **request)
        case = schema[PATH][method].Case()
        case.validate_response(response, excluded_checks=[schemathesis.checks.not_a_server_error])
        answered[method.lower()].add(str(response.status_code))

    def vote(message_id, rating, app=app):
        send("POST", app, json={"message_id": message_id, "rating": rating})

    one, other = ({"query_string": {"message_id": message_id}} for message_id in ("one", "other"))
    with capture_feedback(app), capture_feedback(storeless):
        with app.app_context():
            for message_id in "one", "other":
                app.blueprints["feedback"].stash(message_id)
        for raw in "{", " " * 65537, "[]":
            send("POST", data=raw, content_type="application/json")
        send("POST", data="{}", content_type="text/plain")
        for message_id, rating in ("one", 1), ("one", 1), ("one", 2), ("one", 3), ("nowhere", 1):
            vote(message_id, rating)
        send("DELETE", **one)  # a third revision, which no vote could be
        vote("other", 1)
        send("GET", **other)
        for _ in "retracted", "not there":
            send("DELETE", **other)
        stale = {"headers": {"X-Feedback-Rater": "another"}}
        send("POST", json={"message_id": "one", "rating": 1}, **stale)
        for method in "GET", "DELETE":
            send(method, **one, **stale)
            send(method)
            send(method, storeless, **one)
        vote("one", 1, storeless)
    vote("one", 2)
    send("DELETE", **one)
    assert answered == {
        method: operation["responses"].keys()
        for method, operation in schema.raw_schema["paths"][PATH].items()
    }
