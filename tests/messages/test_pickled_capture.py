"""What a request captured, pickled: in another process it finds the app's blueprint by its name."""

from __future__ import annotations

import pickle
from contextlib import contextmanager

import pytest
from flask import Blueprint, request
from host_app import make_app

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.messages.capture import Capture
from feedback_blueprint.testing import capture_feedback

ANN = "ann@example.com"


def new_blueprint(name="feedback"):
    return FeedbackBlueprint(name, rater=lambda: request.headers.get("User"))


@pytest.fixture
def new_site(new_store_url):
    """Ask for an app like the others, on one store, as each process of an app makes it."""
    url = new_store_url("sqlite")
    config = {"FEEDBACK_STORE_URL": url, "OTHER_STORE_URL": url, "SECRET_KEY": "the key of all"}

    @contextmanager
    def new_site(*blueprints, **options):
        app = make_app(**config)
        for blueprint in blueprints:
            app.register_blueprint(blueprint, **options)
        with capture_feedback(app) as app.events:
            yield app

    return new_site


def captured_for_ann(app, feedback):
    with app.test_request_context(headers={"User": ANN}):
        return pickle.dumps(feedback.capture())


def can_rate(app, message_id, user, url="/feedback"):
    client = app.test_client()
    return client.get(f"{url}?message_id={message_id}", headers={"User": user}).json["rateable"]


def test_a_message_that_another_process_keeps_is_the_raters_of_the_request(new_site):
    feedback = new_blueprint()
    with new_site(feedback) as here, new_site(new_blueprint()) as there:
        captured = pickle.loads(captured_for_ann(here, feedback))
        with there.app_context(), captured.transaction("answer"):
            assert captured.stash("m", context={"model": "m-1"}) == "m"
            assert captured.stash("bobs", rater="bob") == "bobs"
            assert captured.stash("anybodys", rater=None) == "anybodys"
        assert can_rate(here, "m", "bob") == []
        assert can_rate(here, "bobs", ANN) == []
        assert can_rate(here, "anybodys", "bob") == ["anybodys"]
        vote = {"message_id": "m", "rating": "good"}
        answer = here.test_client().post("/feedback", json=vote, headers={"User": ANN})
        assert answer.status_code == 202
        assert here.events[0]["model"] == "m-1"
        assert here.events[0]["trace_id"] == captured._trace_id


def test_without_a_word_for_whom_what_was_captured_outside_of_a_request_keeps_nothing(
    new_site, caplog
):
    feedback = new_blueprint()
    with new_site(feedback) as app, app.app_context():
        captured = pickle.loads(pickle.dumps(feedback.capture()))
        assert captured.stash("nobodys") is None
        assert captured.stash("bobs", rater="bob") == "bobs"
    assert "its rater is not known" in caplog.text


def test_where_it_was_captured_it_needs_no_app_context_and_no_pickle_changes_that(new_site):
    feedback = new_blueprint()
    with new_site(feedback) as app:
        with app.test_request_context(headers={"User": ANN}):
            captured = feedback.capture()
            pickle.dumps(captured)
        with captured.transaction("answer"):
            assert captured.stash("m") == "m"
        assert can_rate(app, "m", ANN) == ["m"]


def begin(captured):
    with captured.transaction("answer"):
        pass


@pytest.mark.parametrize("use", [Capture.stash, begin])
def test_without_the_app_of_the_blueprint_it_says_what_it_needs(new_site, use):
    feedback = new_blueprint()
    with new_site(feedback) as app:
        captured = pickle.loads(captured_for_ann(app, feedback))
    with pytest.raises(RuntimeError, match=r"Use it in app.app_context\(\)"):
        use(captured)
    with (
        make_app(Blueprint("feedback", __name__)).app_context(),
        pytest.raises(RuntimeError, match="'feedback' is not registered on this app"),
    ):
        use(captured)


def test_of_two_blueprints_each_finds_its_own(new_site):
    def both():
        other = FeedbackBlueprint("other", config_prefix="OTHER_", url_prefix="/other")
        return new_blueprint(), other

    ours = both()
    with new_site(*ours) as here, new_site(*both()) as there:
        pickled = [captured_for_ann(here, each) for each in ours]
        with there.app_context():
            for captured in map(pickle.loads, pickled):
                assert captured.stash("m") == "m", "the other one has messages of its own"
        assert can_rate(here, "m", "bob") == []
        assert can_rate(here, "m", "bob", "/other/feedback") == ["m"]


def test_the_name_is_the_one_it_was_registered_under_in_this_app(new_site):
    feedback, outer = new_blueprint(), Blueprint("outer", __name__)
    outer.register_blueprint(feedback, name="inner")
    with new_site(outer) as nested, new_site(feedback, name="renamed") as renamed:
        for app in nested, renamed:
            captured = pickle.loads(captured_for_ann(app, feedback))
            with app.app_context():
                assert captured.stash("m") == "m"
        captured = pickle.loads(captured_for_ann(nested, feedback))
        with renamed.app_context(), pytest.raises(RuntimeError, match=r"'outer.inner' is not"):
            captured.stash("m")


def test_nothing_secret_is_pickled(new_site):
    feedback = new_blueprint()
    with new_site(feedback) as app:
        pickled = captured_for_ann(app, feedback)
        [votes] = app.extensions["feedback_blueprint"].values()
        [owner] = votes.raters.of(ANN)
        state = vars(pickle.loads(pickled))
    known = [None, [], (), "feedback", [owner], state["_trace_id"], "The agent failed."]
    assert all(value in known for value in state.values())
    for secret in ANN, app.config["SECRET_KEY"], app.config["FEEDBACK_STORE_URL"]:
        assert secret.encode() not in pickled


@pytest.mark.parametrize("fails", ["headers", "resume", "why_not_in_trace"])
def test_an_agent_that_fails_does_not_disturb_the_work(new_site, monkeypatch, caplog, fails):
    feedback = new_blueprint()
    with new_site(feedback) as app:
        [votes] = app.extensions["feedback_blueprint"].values()
        monkeypatch.setattr(votes.agent, fails, lambda *_: 1 / 0)
        with app.test_request_context():
            captured = feedback.capture()
        with captured.transaction("answer"):
            assert captured.stash("m") == "m"
        with pytest.raises(KeyError, match="of the work"), captured.transaction("answer"):
            raise KeyError("of the work")
    assert "ZeroDivisionError" in caplog.text


def test_a_transaction_that_cannot_be_ended_does_not_disturb_the_work(
    new_site, monkeypatch, caplog
):
    @contextmanager
    def ends_badly(*_):
        try:
            yield
        finally:
            _ = 1 / 0

    feedback = new_blueprint()
    with new_site(feedback) as app:
        [votes] = app.extensions["feedback_blueprint"].values()
        monkeypatch.setattr(votes.agent, "resume", ends_badly)
        with app.test_request_context():
            captured = feedback.capture()
        with pytest.raises(KeyError, match="of the work"), captured.transaction("answer"):
            raise KeyError("of the work")
        with captured.transaction("answer"):
            pass
    assert "New Relic does not show the LLM calls of 'answer' with the feedback." in caplog.text
