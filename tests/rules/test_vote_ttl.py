"""`FEEDBACK_VOTE_TTL`: a vote outlives the time in which its message can be rated."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask, request
from host_app import make_app
from problems import refused
from processes import wait_until
from store_kinds import STORES

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.testing import capture_feedback


@pytest.fixture(params=STORES)
def store_kind(request):
    return request.param


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


def ask_all(app: Flask, message_id: str, user: str):
    """What a user is told of a message, whatever is asked."""
    client, headers = app.test_client(), {"User": user}
    url = f"/feedback?message_id={message_id}"
    body = {"message_id": message_id, "rating": "bad"}
    answers = [
        client.get(url, headers=headers),
        client.post("/feedback", json=body, headers=headers),
        client.delete(url, headers=headers),
    ]
    return [(answer.status_code, answer.text, list(answer.headers)) for answer in answers]


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

    assert refused(rate("good", {"User": "bob"}), 404, "unknown-message")
    assert ask_all(app, "m", "bob") == ask_all(app, "x", "bob")
    assert client.get("/chat").text == "None", "the first message under an ID stands"
    assert "stashed before" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        {"FEEDBACK_TTL": timedelta(days=31)},
        {"FEEDBACK_VOTE_TTL": timedelta(days=6)},
        {"FEEDBACK_TTL": 10, "FEEDBACK_VOTE_TTL": 9.999},
    ],
)
def test_a_vote_cannot_be_kept_for_less_time_than_a_message_can_be_rated(config):
    with pytest.raises(ConfigurationError) as error:
        make_app(FeedbackBlueprint(), **config)
    text = str(error.value)
    assert "FEEDBACK_VOTE_TTL cannot be" in text
    assert "FEEDBACK_TTL" in text.replace("FEEDBACK_VOTE_TTL", "")


def test_the_error_names_the_keys_by_the_prefix_that_they_have():
    feedback = FeedbackBlueprint(config_prefix="BOT_")
    with pytest.raises(ConfigurationError, match=r"BOT_VOTE_TTL .* BOT_TTL"):
        make_app(feedback, BOT_TTL=9, BOT_VOTE_TTL=5)


def test_a_vote_may_be_kept_as_long_as_a_message_can_be_rated():
    make_app(FeedbackBlueprint(), FEEDBACK_TTL=10, FEEDBACK_VOTE_TTL=timedelta(seconds=10))


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
