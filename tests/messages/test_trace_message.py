"""The decorator: what it takes for a message, and that a function stays what it was."""

from __future__ import annotations

import copy
import inspect
import pickle
from http import HTTPStatus

import pytest
from decorated import KINDS, assert_same_kind, id_given_to, ids, traced_generator
from flask import Response, redirect
from werkzeug.exceptions import HTTPException, NotFound

from feedback_blueprint import ConfigurationError


@pytest.mark.parametrize("function", KINDS)
def test_a_function_stays_what_it_was(feedback, function):
    traced = feedback.trace_message(function)
    assert_same_kind(traced, function)
    assert traced.__name__ == function.__name__
    assert traced.__doc__ == function.__doc__
    assert inspect.unwrap(traced) is function


def test_a_stream_is_copied_and_pickled_as_any_function():
    assert copy.copy(traced_generator) is traced_generator
    assert copy.deepcopy([traced_generator]) == [traced_generator]
    assert pickle.loads(pickle.dumps(traced_generator)) is traced_generator


@pytest.mark.parametrize("function", KINDS)
@pytest.mark.parametrize("outside", [True, False])
def test_a_static_method_is_decorated_from_either_side(feedback, call, function, outside):
    trace = feedback.trace_message(context={"model": "m"})

    class Bot:
        answer = trace(staticmethod(function)) if outside else staticmethod(trace(function))

    assert_same_kind(Bot.answer, function)
    response = call(lambda: [id_given_to(Bot.answer), id_given_to(Bot().answer)])
    assert ids(response) == response.json


@pytest.mark.parametrize("outside", [True, False])
def test_a_class_method_is_decorated_from_either_side(feedback, call, outside):
    def answer(cls, *, message_id):
        return [cls.__name__, message_id]

    def stream(cls, *, message_id):
        yield from answer(cls, message_id=message_id)

    def trace(function):
        if outside:
            return feedback.trace_message(classmethod(function))
        return classmethod(feedback.trace_message(function))

    class Bot:
        told, streamed = trace(answer), trace(stream)

    response = call(lambda: [Bot.told(), list(type("Child", (Bot,), {})().streamed())])
    first, second = ids(response)
    assert response.json == [["Bot", first], ["Child", second]]


def test_methods_are_decorated_too(feedback, call):
    class Bot:
        @feedback.trace_message
        def answer(self, *, message_id):
            return message_id

        @feedback.trace_message
        def stream(self, *, message_id):
            yield message_id

    response = call(lambda: Bot().answer() + "".join(Bot.stream(Bot())))
    assert response.text == "".join(ids(response))
    response = call(lambda: Bot().answer() + "".join(Bot().stream()))
    assert response.text == "".join(ids(response))
    assert len(ids(response)) == 2


@pytest.mark.parametrize(
    "context", [{"bad name": 1}, {"a": []}, {f"k{n}": n for n in range(17)}, "model", 5]
)
def test_constant_context_is_checked_when_decorating(feedback, context):
    with pytest.raises(ConfigurationError, match="context"):
        feedback.trace_message(context=context)


@pytest.mark.parametrize("message_id", ["", 5, {}])
def test_a_message_id_that_names_nothing_is_refused_when_decorating(feedback, message_id):
    with pytest.raises(ConfigurationError, match="message_id"):
        feedback.trace_message(message_id=message_id)


@pytest.mark.parametrize("decorate", ["trace_message", "with arguments"])
def test_what_is_not_a_function_is_refused_when_decorating(feedback, decorate):
    trace = feedback.trace_message if decorate == "trace_message" else feedback.trace_message()
    with pytest.raises(ConfigurationError, match="message_id="):
        trace("id")


def test_content_that_is_not_a_function_is_refused_when_decorating(feedback):
    with pytest.raises(ConfigurationError, match="content"):
        feedback.trace_message(content="text")


# What is a message


@pytest.mark.parametrize(
    "result",
    [
        None,
        ("sorry", 500),
        ("sorry", HTTPStatus.NOT_FOUND),
        ("sorry", "429 TOO MANY REQUESTS", {"Retry-After": "1"}),
        Response("sorry", 400),
        (Response("sorry", 503), {"X-A": "b"}),
        NotFound(),
        HTTPException(),
    ],
)
def test_an_apology_is_not_a_message(feedback, call, caplog, result):
    traced = feedback.trace_message(lambda: result)
    assert ids(call(lambda: traced() or "nothing")) == []
    assert not caplog.records


class Reply(HTTPException):
    code = 299

    def get_body(self, *_):
        return "reply"


@pytest.mark.parametrize(
    "result",
    [
        "reply",
        ("reply", 201),
        ("reply", {"X-A": "b"}),
        ("reply", "200 OK", {"X-A": "b"}),
        Response("reply"),
        (Response("reply"), 299),
        Reply(),
    ],
)
def test_what_a_view_returns_is_a_message(feedback, call, result):
    response = call(feedback.trace_message(lambda: result))
    assert len(ids(response)) == 1
    assert response.text == "reply"


@pytest.mark.parametrize("result", [("reply",), ("reply", 503, 12, 512)])
def test_a_tuple_of_another_length_is_not_a_response(feedback, call, result):
    traced = feedback.trace_message(lambda: result)
    assert len(ids(call(lambda: traced()[0]))) == 1


@pytest.mark.parametrize(
    "beside", ["gpt-4o", "", "12 tokens", 12, 600, 2048, 0.5, None, True, ["a"]]
)
def test_a_second_result_that_is_not_a_status_does_not_matter(feedback, call, beside):
    traced = feedback.trace_message(lambda: ("reply", beside))
    assert len(ids(call(lambda: traced()[0]))) == 1


@pytest.mark.parametrize("beside", [512, 599])  # tokens, or what Flask would answer with
def test_a_second_result_that_may_not_be_a_status_is_named_in_the_log(
    feedback, call, caplog, beside
):
    def answer():
        return "reply", beside

    traced = feedback.trace_message(answer)
    for _ in range(2):
        assert ids(call(lambda: traced()[0])) == []
    [record] = caplog.records
    assert "answer()" in record.message
    assert str(beside) in record.message


def test_a_redirect_is_a_message_too(feedback, call):
    assert len(ids(call(feedback.trace_message(lambda: redirect("/done"))))) == 1


def failing():
    raise ZeroDivisionError


async def failing_coroutine():
    raise ZeroDivisionError


@pytest.mark.parametrize("function", [failing, failing_coroutine])
def test_an_exception_is_the_callers_and_not_a_message(feedback, call, function):
    def view():
        with pytest.raises(ZeroDivisionError):
            id_given_to(feedback.trace_message(function))
        return "handled"

    assert ids(call(view)) == []
