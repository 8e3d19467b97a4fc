"""Declared ratings and categories: their scores, and what is off them."""

from __future__ import annotations

import json
import os

import pytest
from host_app import make_app
from problems import assert_refused

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.testing import capture_feedback


@pytest.fixture
def scaled(store_url):
    """Ask for an app with some configuration."""

    def scaled(*, from_environment=False, **config):
        feedback = FeedbackBlueprint()
        app = make_app(FEEDBACK_STORE_URL=store_url, **config)
        if from_environment:
            app.config.from_prefixed_env()
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
    "declared", ['{"1": 0, "2": 0.5, "3": 1}', "range(1, 4)"], ids=["mapping", "range"]
)
def test_integers_can_be_declared_in_the_environment(scaled, monkeypatch, declared):
    """JSON has no keys but text; what is posted there as text is another rating, as anywhere."""
    monkeypatch.setitem(os.environ, "FLASK_FEEDBACK_RATINGS", declared)
    app = scaled(from_environment=True)
    with capture_feedback(app) as events:
        client = app.test_client()
        body = {"message_id": client.get("/chat").text}
        assert client.post("/feedback", json=body | {"rating": 2}).status_code == 202
        for off in "2", 0, 4:
            refusal = client.post("/feedback", json=body | {"rating": off})
            assert_refused(refusal, 422, "invalid")
    assert [(event["rating"], event["score"]) for event in events] == [(2, 0.5)]


@pytest.mark.parametrize(
    ("config", "fields", "allowed"),
    [
        ({"FEEDBACK_RATINGS": {"bad": 0, "good": 1}}, {"rating": "ugly"}, "bad, good"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {"rating": 4}, "1, 2, 3"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {"rating": "1"}, "1, 2, 3"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {"rating": True}, "rating"),
        ({"FEEDBACK_RATINGS": range(1, 4)}, {}, "rating"),
        ({"FEEDBACK_CATEGORIES": ["a", "b"]}, {"rating": 1, "category": "c"}, "a, b"),
    ],
)
def test_off_the_scale_is_refused_with_what_is_allowed(scaled, config, fields, allowed):
    app = scaled(**config)
    with capture_feedback(app) as events:
        client = app.test_client()
        response = client.post("/feedback", json={"message_id": client.get("/chat").text} | fields)
    assert_refused(response, 422, "invalid")
    assert allowed in json.dumps(response.json["errors"])
    assert events == []


def test_a_category_can_be_left_out_of_a_declared_list(scaled):
    app = scaled(FEEDBACK_CATEGORIES=["a"])
    with capture_feedback(app):
        client = app.test_client()
        body = {"message_id": client.get("/chat").text, "rating": 1}
        assert client.post("/feedback", json=body).status_code == 202
        assert client.post("/feedback", json=body | {"category": None}).status_code == 200
        assert client.post("/feedback", json=body | {"category": "a"}).status_code == 202
