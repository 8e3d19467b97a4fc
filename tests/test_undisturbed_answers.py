"""Nothing that goes wrong with feedback reaches the answer."""

from __future__ import annotations

import itertools
import logging

import pytest
from broken_store import BrokenStore
from decorated import KINDS, ids, run
from flask import Flask

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.testing import capture_feedback

BROKEN = [BrokenStore(StoreUnavailable("Gone.")), BrokenStore(ZeroDivisionError())]


@pytest.fixture
def store_url(new_store_url):
    return new_store_url("sqlite")  # what differs between stores is in their own tests


@pytest.mark.parametrize("function", KINDS)
def test_without_a_trace_id_the_answer_is_untouched(app, feedback, client, caplog, function):
    app.get("/x")(lambda: {"id": run(feedback.trace_message(function))})
    response = client.get("/x")
    assert len(response.json["id"]) == 22
    assert ids(response) == []
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "newrelic-admin" in record.message, "the log names the remedy"


@pytest.mark.parametrize("store", BROKEN)
@pytest.mark.parametrize("function", KINDS)
def test_without_a_store_the_answer_is_untouched(store, function, caplog):
    feedback, app = FeedbackBlueprint(store=store), Flask(__name__)
    app.register_blueprint(feedback)
    app.get("/x")(lambda: {"id": run(feedback.trace_message(function))})
    with capture_feedback(app):
        response = app.test_client().get("/x")
    assert len(response.json["id"]) == 22
    assert ids(response) == []
    assert caplog.records


@pytest.mark.parametrize("store", BROKEN)
def test_without_a_store_stashing_by_hand_returns_none(store, caplog):
    feedback, app = FeedbackBlueprint(store=store), Flask(__name__)
    app.register_blueprint(feedback)
    with capture_feedback(app), app.app_context():
        assert feedback.stash() is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("fails", ["trace_id", "limits"])
def test_with_an_agent_that_fails_stashing_by_hand_returns_none(
    app, feedback, events, monkeypatch, caplog, fails
):
    [votes] = app.extensions["feedback_blueprint"].values()
    monkeypatch.setattr(votes.agent, "trace_id", lambda: None)
    monkeypatch.setattr(votes.agent, fails, lambda: 1 / 0)
    with app.test_request_context():
        assert feedback.stash() is None
        assert feedback.capture().stash("a") is None
    assert "ZeroDivisionError" in caplog.text
    assert "The agent failed" in caplog.messages[-1]


def test_what_fails_in_the_store_is_not_blamed_on_the_id(caplog):
    feedback, app = FeedbackBlueprint(store=BrokenStore(ValueError("odd"))), Flask(__name__)
    app.register_blueprint(feedback)
    with capture_feedback(app), app.app_context():
        assert feedback.stash("a") is None
    assert "odd" in caplog.text
    assert "cannot be used" not in caplog.text


def test_on_an_app_without_the_blueprint_the_answer_is_untouched(feedback, caplog):
    other = Flask(__name__)
    other.get("/x")(feedback.trace_message(lambda: "reply"))
    assert other.test_client().get("/x").text == "reply"
    assert "register_blueprint" in caplog.text


@pytest.mark.parametrize("function", KINDS)
def test_without_any_app_the_answer_is_untouched_and_one_line_names_the_remedy(function, caplog):
    traced = FeedbackBlueprint().trace_message(function)
    for _ in range(3):
        assert run(traced)
    [record] = caplog.records
    assert function.__name__ in record.message
    assert "capture()" in caplog.text


@pytest.mark.parametrize("rater", [lambda: 1 / 0, lambda: 5])
def test_a_rater_that_fails_costs_no_answer(store_url, rater, caplog):
    feedback, app = FeedbackBlueprint(rater=rater), Flask(__name__)
    app.config.update(FEEDBACK_STORE_URL=store_url, SECRET_KEY="k")
    app.register_blueprint(feedback)
    app.get("/x")(feedback.trace_message(lambda: "reply"))
    with capture_feedback(app):
        response = app.test_client().get("/x")
    assert response.text == "reply"
    assert ids(response) == [], "nobody owns it, and it must not be everybody's"
    assert "rater" in caplog.text


@pytest.fixture
def failing_log():
    handler, log = logging.Handler(), logging.getLogger("feedback_blueprint")
    handler.addFilter(lambda _: 1 / 0)
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


@pytest.mark.parametrize("store", BROKEN)
def test_a_log_of_the_app_that_fails_costs_no_answer(store, failing_log):
    feedback, app = FeedbackBlueprint(store=store), Flask(__name__)
    app.register_blueprint(feedback)
    with capture_feedback(app), app.test_request_context():
        assert feedback.trace_message(lambda: "reply")() == "reply"
        assert feedback.stash() is None


def nested(depth, function):
    return nested(depth - 1, function) if depth else function()


def test_an_answer_that_just_fits_on_the_stack_is_untouched(app, feedback, events):
    def answer():
        return nested(9, lambda: "reply")  # what asks an LLM calls more than that

    traced = feedback.trace_message(answer)
    with app.test_request_context():
        for depth in itertools.count():
            try:
                nested(depth, lambda: answer())  # the decorator takes a frame of its own
            except RecursionError:
                break
        for left in range(1, 100):
            assert nested(depth - left, traced) == "reply"
