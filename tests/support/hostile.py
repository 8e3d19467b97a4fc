"""Objects that raise, or answer what they should not, whatever one asks them."""

from __future__ import annotations

import asyncio
import types
from typing import Any, NoReturn
from uuid import UUID

import gevent
from flask import Response
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException


class UnnamedType(type):
    def __repr__(cls) -> NoReturn:
        raise ZeroDivisionError

    __str__ = __repr__


class Untold(BaseException, metaclass=UnnamedType):
    """What a log cannot show, nor its class."""

    def __repr__(self) -> NoReturn:
        raise ZeroDivisionError

    __str__ = __repr__


class UntoldError(ValueError):
    __repr__ = __str__ = Untold.__repr__


TROUBLE: list[type[BaseException]] = [
    *(ZeroDivisionError, AttributeError, LookupError, TypeError, UntoldError, RecursionError),
    *(StopIteration, GeneratorExit, asyncio.CancelledError, gevent.Timeout, Untold, BaseException),
]
"""All that a library may raise, which is to be stopped, whatever it derives from."""

ANSWERS = [None, True, -1, 503, 10**400, float("nan"), "", "a", "\ud800", b"\xff"]

ASKED = [
    *("__getattribute__", "__getattr__", "__getitem__", "__contains__", "__iter__", "__len__"),
    *("__bool__", "__eq__", "__hash__", "__ge__", "__lt__", "__int__", "__index__", "__float__"),
    *("__repr__", "__str__", "__format__", "__dir__", "__call__", "keys", "items", "get"),
    *("encode", "strip", "get_json", "is_integer"),
]

SEEN = ["__class__", "__dict__", "id", "hex", "int", "is_json", "is_sequence", "status_code"]

BASES: list[tuple[type, tuple[Any, ...]]] = [
    *((object, ()), (str, ("id",)), (int, (7,)), (float, (0.5,)), (list, ()), (dict, ())),
    *((tuple, (("reply", 200),)), (tuple, (("reply", 503),)), (UUID, ()), (Response, ())),
    *((HTTPException, ()), (BaseException, ())),
]
"""What it derives from, and what it is made of: nothing is called to make it whole."""


def raising(trouble: type[BaseException]) -> Any:
    def fail(*_: object, **__: object) -> NoReturn:
        raise trouble

    return fail


def saying(answer: object) -> Any:
    return lambda *_, **__: answer


def doing(deed: object) -> Any:
    return raising(deed) if isinstance(deed, type) else saying(deed)


def make(base: tuple[type, tuple[Any, ...]], asked: Any, seen: Any) -> Any:
    """Make an object of a class of its own."""
    names = {name: doing(deed) for name, deed in asked.items()}
    names |= {name: property(doing(deed)) for name, deed in seen.items()}
    kind, made_of = base
    return kind.__new__(type("Hostile", (kind,), names), *made_of)


DEEDS = st.sampled_from([*TROUBLE, *ANSWERS])

#: What `make` takes, not what it makes: Hypothesis would show that, and compare it.
recipes = st.tuples(
    st.sampled_from(BASES),
    st.dictionaries(st.sampled_from(ASKED), DEEDS, max_size=4),
    st.dictionaries(st.sampled_from(SEEN), DEEDS, max_size=2),
)


# Functions of every kind that return such an object or yield it, and who takes it without a look


def plain(give):
    return lambda: give()


def coroutine(give):
    async def answer():
        return give()

    return answer


def iterable_coroutine(give):
    @types.coroutine
    def answer():
        yield
        return give()

    return answer


def generator(give):
    def answer():
        yield give()

    return answer


def async_generator(give):
    async def answer():
        yield give()

    return answer


def finished(awaitable):
    """Return what it comes to, without an event loop: that would look at it, and take stack."""
    while True:
        try:
            awaitable.send(None)
        except StopIteration as stop:
            return stop.value


def first_of(stream):
    item = next(stream)
    stream.close()
    return item


def first_of_async(stream):
    item = finished(anext(stream))
    finished(stream.aclose())
    return item


TAKEN = {
    plain: lambda function: function(),
    coroutine: lambda function: finished(function()),
    iterable_coroutine: lambda function: finished(function()),
    generator: lambda function: first_of(function()),
    async_generator: lambda function: first_of_async(function()),
}
"""A function of each kind, and how to take what it gives."""
