"""Nothing that goes wrong with feedback reaches the answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import gevent
import pytest
from broken_store import BrokenStore
from decorated import KINDS, id_given_to, ids
from flask import Flask
from host_app import make_app
from hostile import TAKEN, TROUBLE, make, plain, raising, recipes, saying
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.errors import AgentNotRecording, StoreUnavailable
from feedback_blueprint.testing import capture_feedback

BROKEN = [
    BrokenStore(error)
    for error in (StoreUnavailable("Gone."), ZeroDivisionError(), gevent.Timeout())
]


@pytest.mark.parametrize("function", KINDS)
def test_without_a_trace_id_the_answer_is_untouched(app, feedback, client, caplog, function):
    app.get("/x")(lambda: {"id": id_given_to(feedback.trace_message(function))})
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
    app.get("/x")(lambda: {"id": id_given_to(feedback.trace_message(function))})
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


def test_with_an_agent_that_fails_stashing_by_hand_returns_none(
    app, feedback, events, monkeypatch, caplog
):
    [votes] = app.extensions["feedback_blueprint"].values()
    monkeypatch.setattr(votes.agent, "trace_id", lambda: 1 / 0)
    with app.test_request_context():
        assert feedback.stash() is None
        assert feedback.capture().stash("a") is None
    assert "ZeroDivisionError" in caplog.text
    assert "The agent failed" in caplog.messages[-1]


def test_each_cause_of_a_missing_trace_id_is_named(app, feedback, events, monkeypatch, caplog):
    [votes] = app.extensions["feedback_blueprint"].values()
    for cause in "Not connected.", "No transaction.", "No transaction.":

        def refuse(cause=cause):
            raise AgentNotRecording(cause)

        monkeypatch.setattr(votes.agent, "trace_id", refuse)
        with app.test_request_context():
            assert feedback.stash() is None
    assert [text.rpartition("trace ID. ")[2] for text in caplog.messages] == [
        "Not connected.",
        "No transaction.",
    ]


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
        assert id_given_to(traced)
    [record] = caplog.records
    assert function.__name__ in record.message
    assert "capture()" in caplog.text


@pytest.mark.parametrize("rater", [lambda: 5, *map(raising, TROUBLE)])
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


def test_headers_that_take_no_more_cost_no_answer(app, feedback, events, client, caplog):
    @app.after_request
    def seal(response):
        response.headers.add = raising(TypeError)
        return response

    app.get("/x")(feedback.trace_message(lambda: "reply"))
    assert client.get("/x").text == "reply"
    assert "without the IDs" in caplog.text


@pytest.fixture(params=[ZeroDivisionError, gevent.Timeout])
def failing_log(request):
    handler, log = logging.Handler(), logging.getLogger("feedback_blueprint")
    handler.addFilter(raising(request.param))
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


# Whatever is met in the result, or raised by what the app has us call


@pytest.fixture
def with_text(app):
    [votes] = app.extensions["feedback_blueprint"].values()
    votes.settings = votes.settings._replace(store_message=True)


@pytest.mark.parametrize("giving", TAKEN)
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    recipe=recipes,
    said=st.dictionaries(st.sampled_from(["message_id", "context", "content"]), recipes),
    key=st.none() | st.just("id"),
)
def test_whatever_a_function_returns_is_handed_through(
    app, feedback, events, with_text, giving, recipe, said, key
):
    result = make(*recipe)
    arguments = {name: saying(make(*each)) for name, each in said.items()}
    arguments.setdefault("message_id", key)
    traced = feedback.trace_message(**arguments)(giving(lambda: result))
    with app.test_request_context():
        assert TAKEN[giving](traced) is result


@settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(recipe=recipes)
def test_whatever_is_stashed_by_hand_raises_nothing(app, feedback, events, with_text, recipe):
    thing = make(*recipe)
    with app.test_request_context():
        for arguments in {}, {"context": thing}, {"content": thing}:
            assert type(feedback.stash(**arguments)) is str
        assert type(feedback.stash(thing)) in (str, type(None))


ARGUMENTS = ["message_id", "context", "content"]


@pytest.mark.parametrize(
    ("argument", "giving", "trouble"),
    [
        *((argument, giving, TROUBLE[0]) for argument in ARGUMENTS for giving in TAKEN),
        *((ARGUMENTS[number % 3], plain, each) for number, each in enumerate(TROUBLE)),
    ],
)
def test_whatever_an_argument_raises_is_logged(
    app, feedback, events, with_text, caplog, argument, giving, trouble
):
    traced = feedback.trace_message(**{argument: raising(trouble)})(giving(lambda: "reply"))
    with app.test_request_context():
        assert TAKEN[giving](traced) == "reply"
        assert bool(feedback.message_id) is (argument != "message_id")
    assert f"{argument}= failed" in caplog.text


@pytest.mark.parametrize("order", [KeyboardInterrupt, SystemExit, gevent.GreenletExit])
def test_what_tells_the_process_or_the_greenlet_to_end_is_obeyed(app, feedback, events, order):
    with app.test_request_context(), pytest.raises(order):
        feedback.trace_message(context=raising(order))(lambda: "reply")()


def test_a_stream_that_its_loop_closes_is_closed_once(app, feedback, events):
    """Not by the loop while the stream that follows it does so: "already running"."""
    closed, complaints, held = [], [], []

    @feedback.trace_message(message_id=lambda item: item)
    async def stream():
        try:
            yield "first"
        finally:
            await asyncio.sleep(0)
            closed.append("once")

    async def view():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        held.append(stream())
        return await anext(held[0])

    with app.test_request_context():
        assert asyncio.run(view()) == "first"
    assert (closed, complaints) == (["once"], [])


# An answer that just fits on the stack


def nested(depth, function):
    return nested(depth - 1, function) if depth else function()


def frames_left():
    try:
        return 1 + frames_left()
    except RecursionError:
        return 0


def taking_an_id(give):
    return lambda *, message_id="none": (give(), message_id)[0]


@pytest.mark.parametrize("message_id", [None, lambda _: uuid4()])
@pytest.mark.parametrize(
    ("kind", "giving"),
    [*(("sqlite", giving) for giving in (*TAKEN, taking_an_id)), ("redis", taking_an_id)],
)
def test_an_answer_that_just_fits_on_the_stack_is_untouched(
    new_store_url, kind, giving, message_id
):
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=new_store_url(kind))
    answer, take = giving(lambda: "reply"), TAKEN.get(giving, TAKEN[plain])
    traced = feedback.trace_message(message_id=message_id)(answer)
    with capture_feedback(app), app.test_request_context():
        for depth in itertools.count(frames_left() - 50):  # an answer takes fewer
            try:
                nested(depth, lambda: take(answer))
            except RecursionError:
                break
        for left in range(3, 100):  # the decorator takes two frames of its own, at most
            assert nested(depth - left, lambda: take(traced)) == "reply"
        with ThreadPoolExecutor(1) as another:  # which waits for no lock that was left held
            assert another.submit(feedback.capture().stash).result()
