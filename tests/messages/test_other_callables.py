"""The decorator above other decorators, and on what is not a plain function."""

from __future__ import annotations

import functools
import inspect
import types
from types import MethodType

import pytest
from decorated import KINDS, OBJECTS, assert_same_kind, id_given_to, ids, plain


def passing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def by_name(function):
    @functools.wraps(function)
    def wrapper(prompt, message_id=""):
        return function(prompt, message_id)

    return wrapper


def by_position_alone(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@passing_on
def asked(prompt, message_id=""):
    return {"message_id": message_id}


@functools.wraps(lambda prompt: prompt)
def renamed(prompt, message_id=""):
    return {"message_id": message_id}


@pytest.mark.parametrize(
    "function",
    [asked, passing_on(asked), passing_on(by_name(asked)), functools.lru_cache(asked), renamed],
)
def test_an_id_goes_through_other_decorators(feedback, call, function):
    traced = feedback.trace_message(function)
    response = call(lambda: [id_given_to(traced, "hi"), id_given_to(traced, "hi", "by position")])
    assert response.json == ids(response)
    assert response.json[1] == "by position"


@pytest.mark.parametrize(
    "function", [by_position_alone(plain), passing_on(by_position_alone(plain))]
)
def test_an_id_is_announced_even_if_another_decorator_does_not_pass_it_on(
    feedback, call, kept, function
):
    response = call(lambda: [id_given_to(feedback.trace_message(function))])
    assert response.json == [""]
    assert kept(*ids(response))


def test_a_function_that_is_said_to_wrap_itself_is_refused(feedback):
    function = passing_on(plain)
    function.__wrapped__ = function
    with pytest.raises(ValueError, match="wrapper loop"):
        feedback.trace_message(function)


@pytest.mark.parametrize("bot", OBJECTS)
def test_an_object_that_a_class_holds_is_not_a_method(feedback, call, bot):
    class Page:
        ask = feedback.trace_message(bot)

    response = call(lambda: [id_given_to(Page().ask)])
    assert response.json == ids(response)


@pytest.mark.parametrize("function", KINDS)
def test_a_bound_method_that_a_class_holds_stays_one(feedback, call, function):
    bound = MethodType(function, "its own")

    class Page:
        ask = feedback.trace_message(bound)

    assert type(Page.ask) is MethodType
    response = call(lambda: [id_given_to(Page().ask)])
    assert response.json == ids(response) == ["its own"]


@pytest.mark.parametrize("bot", OBJECTS)
def test_an_object_is_decorated_as_what_it_is_when_called(feedback, call, bot):
    def id_of(result):
        return result["message_id"] if isinstance(result, dict) else result

    traced = feedback.trace_message(message_id=id_of)(bot)
    assert ids(call(lambda: id_given_to(traced, "own"))) == ["own"]
    assert inspect.signature(traced) == inspect.signature(bot)
    for question in inspect.isgeneratorfunction, inspect.isasyncgenfunction:
        assert question(traced) == question(bot)


@pytest.mark.parametrize("function", KINDS)
def test_a_partial_stays_one_and_what_it_holds_is_the_callers(feedback, call, function):
    held = [
        functools.partial(function, extra=2),
        functools.partial(function, message_id="keyword"),
        functools.partial(function, "position"),
    ]
    traced = [feedback.trace_message(each) for each in held]
    for each, before in zip(traced, held, strict=True):
        assert isinstance(each, functools.partial)
        assert_same_kind(each, before)
    response = call(lambda: [id_given_to(each) for each in traced])
    assert response.json[1:] == ["keyword", "position"]
    assert ids(response) == response.json


def test_a_builtin_that_has_no_signature_takes_no_id(feedback, call):
    response = call(lambda: [feedback.trace_message(max)(1, 2)])
    assert response.json == [2]
    assert len(ids(response)) == 1


def test_a_message_id_by_position_alone_is_the_callers(feedback, call):
    traced = feedback.trace_message(lambda message_id, /: message_id)
    response = call(lambda: traced("mine"))
    assert response.text == "mine"
    assert ids(response) != ["mine"]


@types.coroutine
def iterable_coroutine(message_id=""):
    yield
    return {"message_id": message_id}


class IterableCoroutineBot:
    @types.coroutine
    def __call__(self, message_id=""):
        yield
        return {"message_id": message_id}


@pytest.mark.parametrize(("message_id", "stashed"), [(None, ["own", "other"]), ("message_id", [])])
@pytest.mark.parametrize("function", [iterable_coroutine, IterableCoroutineBot()])
def test_what_types_coroutine_made_can_still_be_awaited(
    feedback, call, function, message_id, stashed
):
    """It is a plain function, whose result is not the message but what is awaited."""
    traced = feedback.trace_message(message_id=message_id)(function)

    async def view():
        return [(await traced("own"))["message_id"], (await through(traced))["message_id"]]

    @types.coroutine
    def through(function):
        return (yield from function("other"))

    response = call(view)
    assert response.json == ["own", "other"]
    assert ids(response) == stashed
