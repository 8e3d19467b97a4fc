"""For whom a message is made. If nobody can be asked, it is not kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from decorated import KINDS, id_given_to
from flask import Response, request
from host_app import make_app
from runbook import is_quoted

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.errors import UnknownMessage
from feedback_blueprint.testing import capture_feedback


@pytest.fixture
def feedback():
    return FeedbackBlueprint(rater=lambda: request.headers.get("User"))


@pytest.fixture
def site(new_store_url, feedback):
    """An app: pytest-flask runs a test of one that is called `app` in a request."""
    app = make_app(feedback, FEEDBACK_STORE_URL=new_store_url("sqlite"), SECRET_KEY="k")
    with capture_feedback(app):
        yield app


@pytest.fixture
def votes(site):
    [votes] = site.extensions["feedback_blueprint"].values()
    return votes


@pytest.fixture
def get(site):
    """Ask for a page as somebody."""
    return lambda url, user: site.test_client().get(url, headers={"User": user} if user else {})


@pytest.fixture
def raters(get):
    """Ask who of two raters and a visitor can rate a message."""

    def raters(message_id):
        everybody = ("ann", "bob", None)
        url = f"/feedback?message_id={message_id}"
        return [name for name in everybody if get(url, name).json["rateable"]]

    return raters


def assert_not_kept(message_id, caplog):
    assert message_id is None
    assert any("stash(rater=...)" in text and "capture()" in text for text in caplog.messages)
    assert all(map(is_quoted, caplog.messages))
    caplog.clear()


@pytest.mark.parametrize("by", ["stash", "capture"])
def test_outside_of_a_request_a_message_is_not_kept_for_anybody(
    site, votes, feedback, caplog, monkeypatch, by
):
    counted = []
    monkeypatch.setattr(votes.agent, "count", counted.append)
    with site.app_context():
        stash = feedback.stash if by == "stash" else feedback.capture().stash
        assert_not_kept(stash("m"), caplog)
    assert votes.store.show("fb:m") is None
    assert counted == ["StashesMissed"]


@pytest.mark.parametrize("message_id", [None, lambda _: "m"])
@pytest.mark.parametrize("function", KINDS)
def test_a_decorated_function_outside_of_a_request_keeps_nothing(
    site, votes, feedback, caplog, function, message_id
):
    traced = feedback.trace_message(message_id=message_id)(function)
    with site.app_context():
        given = id_given_to(traced, message_id="m")
        assert given == "m"
        assert votes.store.show("fb:m") is None
    assert_not_kept(None, caplog)


def test_a_command_keeps_nothing_if_it_does_not_say_for_whom(site, feedback, caplog):
    @site.cli.command()
    def digest():
        print(feedback.stash())

    assert site.test_cli_runner().invoke(args=["digest"]).output == "None\n"
    assert_not_kept(None, caplog)


def test_a_thread_of_a_request_keeps_nothing_if_it_does_not_say_for_whom(site, feedback, caplog):
    def work():
        with site.app_context():
            return feedback.stash()

    with site.test_request_context(), ThreadPoolExecutor(1) as pool:
        assert_not_kept(pool.submit(work).result(), caplog)


@pytest.mark.parametrize(
    ("rater", "can_rate"), [("ann", ["ann"]), (None, ["ann", "bob", None]), ("", [])]
)
@pytest.mark.parametrize("by", ["stash", "capture"])
def test_a_job_says_for_whom_it_makes_a_message(
    site, feedback, raters, caplog, by, rater, can_rate
):
    with site.app_context():
        stash = feedback.stash if by == "stash" else feedback.capture().stash
        message_id = stash("m", context={"model": "m-1"}, rater=rater)
    assert message_id == "m"
    assert raters("m") == can_rate
    assert not caplog.records


def test_in_a_request_a_message_made_for_somebody_else_is_theirs(site, feedback, get, raters):
    site.get("/for-ann", endpoint="ann")(lambda: str(feedback.stash(rater="ann")))
    site.get("/mine", endpoint="mine")(lambda: str(feedback.stash()))
    assert raters(get("/for-ann", "bob").text) == ["ann"]
    assert raters(get("/mine", "bob").text) == ["bob"]


def test_what_was_captured_in_a_request_is_its_raters_unless_it_is_told_otherwise(
    site, feedback, get, raters
):
    captured = []
    site.get("/job")(lambda: captured.append(feedback.capture()) or "")
    get("/job", "bob")
    assert captured[0].stash("his")
    assert captured[0].stash("hers", rater="ann")
    assert (raters("his"), raters("hers")) == (["bob"], ["ann"])


@pytest.mark.parametrize("rater", [5, b"ann", True, object()])
def test_a_rater_that_is_not_a_string_keeps_nothing(site, feedback, caplog, rater):
    with site.app_context():
        assert feedback.stash(rater=rater) is None
    assert "Use str() on it" in caplog.text


def test_a_message_cannot_be_somebodys_if_there_are_no_raters(new_store_url, caplog):
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=new_store_url("sqlite"))
    with capture_feedback(app), app.app_context():
        assert feedback.stash(rater="ann") is None
        assert "give FeedbackBlueprint(rater=...)" in caplog.text
        assert feedback.stash()
        assert feedback.stash(rater=None)


def test_a_stream_belongs_to_whoever_it_was_called_for(site, feedback, get, raters):
    """Not to the request that happens to read it, which there may be none of."""
    stream = feedback.trace_message(message_id=lambda item: item)(lambda item: (yield item))

    def late():
        yield from stream("late")

    site.get("/early", endpoint="early")(lambda: Response(stream("early")))
    site.get("/late", endpoint="late")(lambda: Response(late()))
    assert get("/early", "ann").text == "early"
    assert raters("early") == ["ann"]
    assert get("/late", "ann").text == "late"
    assert raters("late") == []


def test_outside_of_a_request_one_votes_as_an_anonymous_visitor(site, feedback):
    with site.app_context():
        feedback.stash("hers", rater="ann")
        feedback.stash("anybodys", rater=None)
        for call in partial(feedback.submit, "hers", "good"), partial(feedback.retract, "hers"):
            with pytest.raises(UnknownMessage):
                call()
        assert feedback.submit("anybodys", "good").status == "accepted"
        assert feedback.retract("anybodys").status == "retracted"
