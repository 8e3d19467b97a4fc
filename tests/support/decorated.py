"""Functions of every kind to decorate, and fixtures to call them and see what was kept."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from feedback_blueprint import FeedbackBlueprint


@pytest.fixture
def call(app, events, client):
    """Call a function as a view and return the response."""
    views = []
    app.add_url_rule("/view", "view", lambda: app.ensure_sync(views[-1])())

    def call(view):
        views.append(view)
        return client.get("/view")

    return call


@pytest.fixture
def kept(app, feedback):
    """Ask for what the store holds of a message, of this blueprint or another one."""

    def kept(message_id, blueprint=feedback):
        votes = app.extensions["feedback_blueprint"][blueprint]
        shown = votes.store.show(votes.keys.of(message_id))
        return shown and shown.message

    return kept


def ids(response):
    return response.headers.getlist("X-Message-ID")


def plain(message_id="", extra=1):
    """Plain."""
    return {"message_id": message_id}


async def coroutine(message_id="", extra=1):
    """Async."""
    return {"message_id": message_id}


def generator(message_id="", extra=1):
    """Stream."""
    yield message_id
    yield "!"


async def async_generator(message_id="", extra=1):
    """Async stream."""
    yield message_id
    yield "!"


KINDS = [plain, coroutine, generator, async_generator]


@FeedbackBlueprint().trace_message
def traced_generator(message_id=""):
    yield message_id


class Bot:
    def __call__(self, message_id=""):
        return plain(message_id)


class AsyncBot:
    async def __call__(self, message_id=""):
        return plain(message_id)


class StreamBot:
    def __call__(self, message_id=""):
        yield message_id


class AsyncStreamBot:
    async def __call__(self, message_id=""):
        yield message_id


OBJECTS = [Bot(), AsyncBot(), StreamBot(), AsyncStreamBot()]
"""Each of one kind, when it is called."""


async def collect(stream):
    return [item async for item in stream]


def id_given_to(function, *args, **kwargs):
    """Call a function of any kind to its end, and return the message ID that it was given."""
    result = function(*args, **kwargs)
    if inspect.iscoroutine(result):
        return asyncio.run(result)["message_id"]
    if inspect.isasyncgen(result):
        return asyncio.run(collect(result))[0]
    if inspect.isgenerator(result):
        return next(iter(list(result)))
    return result["message_id"]


def assert_same_kind(traced, function):
    for question in (
        inspect.isfunction,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert question(traced) == question(function)
    assert inspect.signature(traced) == inspect.signature(function)
