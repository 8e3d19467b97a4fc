"""Who may vote on what: a message is its rater's alone, and nobody can tell it exists."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, session
from host_app import ask_all, make_app
from problems import assert_refused
from processes import wait_until

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.raters import Raters
from feedback_blueprint.testing import capture_feedback


def chat_app(store_url, rater, **config):
    feedback = FeedbackBlueprint(rater=rater)
    app = make_app(feedback, **{"FEEDBACK_STORE_URL": store_url, "SECRET_KEY": "now"} | config)
    app.get("/chat", endpoint="chat")(lambda: str(feedback.stash()))
    app.get("/login/<name>", endpoint="login")(lambda name: session.update(user=name) or "in")
    return app


def session_rater():
    return session.get("user")


@pytest.fixture
def app(store_url):
    return chat_app(store_url, session_rater)


@pytest.fixture
def visitor(app, events):
    """Ask for a browser, logged in under a name or anonymous."""

    def visitor(name=None):
        client = app.test_client()
        if name is not None:
            client.get(f"/login/{name}")
        return client

    return visitor


def test_another_raters_message_gets_the_same_answer_as_an_unknown_message(visitor):
    ann, bob, nobody = visitor("ann"), visitor("bob"), visitor()
    message_id = ann.get("/chat").text
    body = {"message_id": message_id, "rating": "good"}
    assert ann.post("/feedback", json=body).status_code == 202
    for stranger in bob, nobody:
        assert ask_all(stranger, message_id) == ask_all(stranger, "x" * 22)
    assert ann.get(f"/feedback?message_id={message_id}").json["feedback"][0]["rating"] == "good"


def test_an_expired_message_is_exactly_like_none(store_url):
    app = chat_app(store_url, session_rater, FEEDBACK_TTL=0.3)
    with capture_feedback(app):
        client = app.test_client()
        message_id = client.get("/chat").text
        assert message_id != "None"
        url = f"/feedback?message_id={message_id}"
        wait_until(lambda: client.get(url).json["rateable"] == [], "expired")
        assert ask_all(client, message_id) == ask_all(client, "x" * 22)


def test_a_message_kept_in_a_thread_is_its_owners_alone(app, visitor):
    [feedback] = app.extensions["feedback_blueprint"]

    @app.get("/job")
    def job():
        request_knows = feedback.capture()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(request_knows.stash).result()

    ann, bob = visitor("ann"), visitor("bob")
    message_id = ann.get("/job").text
    assert ask_all(bob, message_id) == ask_all(bob, "x" * 22)
    body = {"message_id": message_id, "rating": "good"}
    assert ann.post("/feedback", json=body).status_code == 202


def test_the_store_does_the_same_work_for_another_raters_message(app, visitor, monkeypatch):
    """One call, with the same arguments but the key: what takes time is the same."""
    [votes] = app.extensions["feedback_blueprint"].values()
    calls = []
    vote = votes.breaker.vote
    monkeypatch.setattr(
        votes.breaker, "vote", lambda *args, **kwargs: calls.append(args) or vote(*args, **kwargs)
    )
    message_id = visitor("ann").get("/chat").text
    for asked in message_id, "x" * 22:
        visitor("bob").post("/feedback", json={"message_id": asked, "rating": "good"})
    assert len(calls) == 2
    raters, ballots = zip(*((raters, ballot) for _, raters, ballot in calls), strict=True)
    assert raters[0] == raters[1]
    assert ballots[0] == ballots[1]


def test_an_anonymous_message_is_rated_by_whoever_holds_its_id(visitor, events):
    message_id = visitor().get("/chat").text
    body = {"message_id": message_id, "rating": "good"}
    answers = [visitor(name).post("/feedback", json=body) for name in (None, "ann", "bob")]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert len({answer.json["feedback_id"] for answer in answers}) == 3
    assert visitor("ann").get(f"/feedback?message_id={message_id}").json["feedback"] == [
        {key: answers[1].json[key] for key in ("message_id", "feedback_id", "revision")}
        | {"rating": "good", "category": None, "message": None}
    ]


def test_only_a_hash_of_the_rater_is_stored_or_sent(app, visitor, events):
    ann = visitor("ann@example.com")
    message_id = ann.get("/chat").text
    ann.post("/feedback", json={"message_id": message_id, "rating": "good"})
    [votes] = app.extensions["feedback_blueprint"].values()
    [owner] = votes.raters.of("ann@example.com")
    [standing] = votes.store.read([f"fb:{message_id}"], [owner])
    assert standing.message.owner == owner
    assert len(owner) == 16
    assert b"ann" not in owner
    assert "ann" not in str(events)


def test_the_hash_is_keyed_with_the_secret(store_url):
    hashes = []
    for key in "one", "two":
        app = chat_app(store_url, session_rater)
        app.secret_key = key
        other = FeedbackBlueprint("other", rater=session_rater)
        app.register_blueprint(other, url_prefix="/other")
        hashes.append(app.extensions["feedback_blueprint"][other].raters.of("ann"))
    assert hashes[0] != hashes[1]


def test_a_rotated_secret_costs_no_vote(store_url):
    old, new = (
        chat_app(store_url, lambda: "ann", **config)
        for config in ({"SECRET_KEY": "old"}, {"SECRET_KEY_FALLBACKS": ["older", "old"]})
    )
    assert old.secret_key != new.secret_key
    with capture_feedback(old), capture_feedback(new):
        body = {"message_id": old.test_client().get("/chat").text, "rating": "good"}
        first = old.test_client().post("/feedback", json=body)
        second = new.test_client().post("/feedback", json=body | {"rating": "bad"})
    assert second.status_code == 202
    assert second.json == first.json | {"revision": 2}


def test_a_rotated_secret_costs_no_vote_on_a_message_that_was_made_for_nobody(store_url):
    old, new = (
        chat_app(store_url, session_rater, **config)
        for config in ({"SECRET_KEY": "old"}, {"SECRET_KEY_FALLBACKS": ["older", "old"]})
    )
    old_ann, new_ann = old.test_client(), new.test_client()
    for client in old_ann, new_ann:
        client.get("/login/ann")
    with capture_feedback(old) as before, capture_feedback(new) as after:
        message_id = old.test_client().get("/chat").text
        body = {"message_id": message_id, "rating": "good"}
        first = old_ann.post("/feedback", json=body)
        again = new_ann.post("/feedback", json=body)
        read = new_ann.get(f"/feedback?message_id={message_id}")
        second = new_ann.post("/feedback", json=body | {"rating": "bad"})
        third = new_ann.delete(f"/feedback?message_id={message_id}")
    assert [each.status_code for each in (again, second, third)] == [200, 202, 202]
    assert second.json == first.json | {"revision": 2}
    assert third.json == first.json | {"revision": 3, "status": "retracted"}
    [feedback] = read.json["feedback"]
    assert feedback["feedback_id"] == first.json["feedback_id"]
    assert {each["feedback_id"] for each in before + after} == {first.json["feedback_id"]}


FAILING_RATERS = [lambda: 1 / 0, lambda: 5]


@pytest.mark.parametrize("rater", FAILING_RATERS)
def test_a_rater_that_fails_is_a_bug_in_the_feedback_route(store_url, rater):
    app = chat_app(store_url, rater)
    with capture_feedback(app) as events:
        response = app.test_client().post("/feedback", json={"message_id": "m", "rating": 1})
    assert response.status_code == 500
    assert events == []


@pytest.mark.parametrize("rater", FAILING_RATERS)
def test_a_rater_that_fails_is_a_missed_stash(store_url, rater, monkeypatch):
    app = chat_app(store_url, rater)
    [votes] = app.extensions["feedback_blueprint"].values()
    counted = []
    with capture_feedback(app):
        monkeypatch.setattr(votes.agent, "count", counted.append)
        assert app.test_client().get("/chat").text == "None"
    assert counted == ["StashesMissed"]


@pytest.mark.parametrize("name", ["", "é" * 5000, "half \ud800"])
def test_any_text_is_a_rater(store_url, name):
    app = chat_app(store_url, lambda: name)
    with capture_feedback(app):
        body = {"message_id": app.test_client().get("/chat").text, "rating": 1}
        assert app.test_client().post("/feedback", json=body).status_code == 202


def test_a_rater_that_is_not_a_string_is_not_named_and_the_error_says_what_to_return(store_url):
    app = chat_app(store_url, lambda: ["ann"])
    [feedback] = app.extensions["feedback_blueprint"]
    with app.test_request_context(), pytest.raises(TypeError, match="Use str") as raised:
        feedback.submit("m", 1)
    assert "list" in str(raised.value)
    assert "ann" not in str(raised.value)


def test_a_rater_is_asked_even_if_it_counts_as_false(store_url):
    class Rater(list):
        def __call__(self):
            return "ann"

    app = chat_app(store_url, Rater())
    [votes] = app.extensions["feedback_blueprint"].values()
    with app.test_request_context():
        assert votes.raters.of_caller() == votes.raters.of("ann")


def test_a_hash_outlives_an_upgrade():
    """Else its messages, which are a week old at most, could no longer be rated."""
    raters = Raters(lambda: "ann", {"SECRET_KEY": "key"})
    assert [each.hex() for each in raters.of("ann")] == ["d62da266a986f99c1ec5221abb3df38f"]


# What a page is told of who votes


def tag_in(app):
    [feedback] = app.extensions["feedback_blueprint"]
    return feedback.rater_tag


def test_a_tag_tells_raters_apart_and_nothing_of_them(app, visitor):
    app.get("/tag", endpoint="tag")(lambda: tag_in(app))
    ann, bob, nobody = (visitor(name).get("/tag").text for name in ("ann", "bob", None))
    assert visitor("ann").get("/tag").text == ann != bob
    assert nobody == ""
    assert re.fullmatch(r"[\w-]{22}", ann)
    [votes] = app.extensions["feedback_blueprint"].values()
    [kept] = votes.raters.of("ann")
    assert not {kept.hex(), urlsafe_b64encode(kept).decode()[:22]} & {ann}


def test_a_tag_outlives_an_upgrade(store_url):
    """Else a vote that waits in a browser for its rater would never be sent."""
    app = chat_app(store_url, lambda: "ann", SECRET_KEY="key")
    with app.test_request_context():
        assert tag_in(app) == "PUhftX20rxBI_lPA8gExAg"
    with app.app_context():
        assert tag_in(app) == "", "nobody can be asked outside of a request"


def test_without_a_rater_all_have_the_tag_of_an_anonymous_visitor(store_url):
    app = chat_app(store_url, None)
    with app.test_request_context():
        assert tag_in(app) == ""


def test_a_rater_that_fails_has_no_tag(store_url):
    """An empty one would be an anonymous visitor's."""
    app = chat_app(store_url, lambda: 1 / 0)
    with app.test_request_context(), pytest.raises(ZeroDivisionError):
        tag_in(app)


@pytest.mark.parametrize("page", ["ann", "bob", None])
@pytest.mark.parametrize("name", ["ann", None])
def test_what_comes_from_another_raters_page_is_refused(app, visitor, events, name, page):
    app.get("/tag", endpoint="tag")(lambda: tag_in(app))
    client, message_id = visitor(name), visitor().get("/chat").text
    headers = {"X-Feedback-Rater": visitor(page).get("/tag").text}
    body, url = {"message_id": message_id, "rating": "good"}, f"/feedback?message_id={message_id}"
    answers = [
        client.post("/feedback", json=body, headers=headers),
        client.get(url, headers=headers),
        client.delete(url, headers=headers),
    ]
    if page == name:
        assert [answer.status_code for answer in answers] == [202, 200, 202]
    else:
        for answer in answers:
            assert_refused(answer, 409, "other-rater")
    assert len(events) == (2 if page == name else 0)


def test_the_page_from_before_a_secret_was_rotated_is_still_its_raters(store_url):
    old, new = (
        chat_app(store_url, lambda: "ann", **config)
        for config in ({"SECRET_KEY": "old"}, {"SECRET_KEY_FALLBACKS": ["older", "old"]})
    )
    with old.test_request_context():
        headers = {"X-Feedback-Rater": tag_in(old)}
    with new.test_request_context():
        assert tag_in(new) != headers["X-Feedback-Rater"]
    with capture_feedback(new):
        body = {"message_id": new.test_client().get("/chat").text, "rating": "good"}
        assert new.test_client().post("/feedback", json=body, headers=headers).status_code == 202


@pytest.mark.parametrize("secret", [None, ""])
def test_a_rater_needs_a_secret_key_at_registration(secret):
    app = Flask(__name__)
    app.secret_key = secret
    with pytest.raises(ConfigurationError, match="SECRET_KEY is not set"):
        app.register_blueprint(FeedbackBlueprint(rater=session_rater))


def test_an_operator_is_told_how_many_keys_there_are():
    raters = Raters(lambda: "ann", {"SECRET_KEY": "c", "SECRET_KEY_FALLBACKS": ["b", "a"]})
    [finding] = raters.check(raters.fingerprints)
    assert finding[:3] == ("SECRET_KEY", True, "set, with 2 fallbacks, for the rater")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SECRET_KEY", 12345),
        ("SECRET_KEY", ["12345"]),
        ("SECRET_KEY_FALLBACKS", "12345"),
        ("SECRET_KEY_FALLBACKS", [12345]),
    ],
)
def test_a_secret_key_that_is_not_a_string_is_named_and_not_shown(key, value):
    with pytest.raises(ConfigurationError) as raised:
        Raters(lambda: "ann", {"SECRET_KEY": "k", key: value})
    assert str(raised.value).startswith(f"{key} cannot")
    assert "Give a" in str(raised.value)
    assert "12345" not in str(raised.value)
