"""`FEEDBACK_VOTE_TTL`: a vote outlives the time in which its message can be rated."""

from __future__ import annotations

import pytest
from flask import request
from host_app import ask_all, make_app
from problems import assert_refused
from processes import wait_until
from store_kinds import ON_BOTH_STORES

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.testing import capture_feedback

pytestmark = ON_BOTH_STORES

TTL = {"FEEDBACK_TTL": 0.7, "FEEDBACK_VOTE_TTL": 60}


@pytest.fixture
def app(store_url):
    """An app in which each user may rate what was made for anybody, for a moment."""
    feedback = FeedbackBlueprint(rater=lambda: request.headers.get("User"))
    app = make_app(
        feedback, **TTL, FEEDBACK_STORE_URL=store_url, FEEDBACK_STORE_TIMEOUT=2.0, SECRET_KEY="k"
    )
    app.get("/chat")(lambda: str(feedback.stash("m", rater=None)))
    with capture_feedback(app):
        yield app


def test_a_vote_is_read_back_changed_and_retracted_when_its_message_can_no_longer_be_rated(
    app, caplog
):
    client, url, ann = app.test_client(), "/feedback?message_id=m", {"User": "ann"}

    def rate(rating, headers=ann):
        body = {"message_id": "m", "rating": rating}
        return client.post("/feedback", json=body, headers=headers)

    assert client.get("/chat").text == "m"
    first = rate("good")
    assert first.status_code == 202
    wait_until(lambda: client.get(url).json["rateable"] == [], "expired")
    seen = client.get(url, headers=ann).json
    assert [each["rating"] for each in seen["feedback"]] == ["good"]
    assert seen["rateable"] == ["m"]
    assert rate("good").status_code == 200
    changed = rate("bad").json
    assert (changed["revision"], changed["feedback_id"]) == (2, first.json["feedback_id"])
    assert client.delete(url, headers=ann).status_code == 202
    assert client.get(url, headers=ann).json == {"feedback": [], "rateable": ["m"]}
    assert "no vote of yours" in client.delete(url, headers=ann).json["detail"]
    assert rate("good").json["revision"] == 4

    bob = {"User": "bob"}
    assert_refused(rate("good", bob), 404, "unknown-message")
    assert ask_all(client, "m", bob) == ask_all(client, "x", bob)
    assert client.get("/chat").text == "None", "the first message under an ID stands"
    assert "stashed before" in caplog.text


def test_a_vote_that_is_older_is_as_if_it_were_not_there(app):
    """By the settings of today: they may have been others when it was cast."""
    feedback = FeedbackBlueprint(rater=lambda: request.headers.get("User"))
    config = {"FEEDBACK_STORE_URL": app.config["FEEDBACK_STORE_URL"], "SECRET_KEY": "k"}
    before, today = (
        make_app(feedback, **config, FEEDBACK_STORE_TIMEOUT=2.0, **ttls)
        for ttls in ({}, {"FEEDBACK_TTL": 0.5, "FEEDBACK_VOTE_TTL": 0.5})
    )
    before.get("/chat")(lambda: str(feedback.stash("n")))
    ann, url = {"User": "ann"}, "/feedback?message_id=n"
    body = {"message_id": "n", "rating": "good"}
    with capture_feedback(before), capture_feedback(today):
        before.test_client().get("/chat", headers=ann)
        assert before.test_client().post("/feedback", json=body, headers=ann).status_code == 202
        client = today.test_client()
        wait_until(lambda: not client.get(url, headers=ann).json["feedback"], "too old")
        assert client.get(url, headers=ann).json["rateable"] == ["n"]
        assert "no vote of yours" in client.delete(url, headers=ann).json["detail"]
        again = client.post("/feedback", json=body, headers=ann)
        assert (again.status_code, again.json["revision"]) == (202, 1)
