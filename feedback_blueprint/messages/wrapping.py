"""The decorator: it wraps a function, which stays the kind of function that it is."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator
from types import MethodType
from typing import Any

from ..errors import ConfigurationError
from .decorated import DecoratedFunction
from .streams import StreamFunction, record_async_stream, record_stream


def trace(decorated_of: Callable[[Callable[..., Any]], DecoratedFunction], function: Any) -> Any:
    """Wrap a function, or the function inside a method, a partial or the like.

    `decorated_of` prepares what is known of a function before its calls. Raises
    `ConfigurationError` if `function` is not a function.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(trace(decorated_of, function.__func__))
    if isinstance(function, functools.partial):  # a caller gives its arguments, maybe an ID
        inside = trace(decorated_of, function.func)
        held = functools.partial(inside, *function.args, **function.keywords)
        return functools.update_wrapper(held, function)
    if type(function) is MethodType:  # other objects only look like one
        return MethodType(trace(decorated_of, function.__func__), function.__self__)
    if not callable(function):
        raise ConfigurationError(f"{function!r} is not a function. Did you mean message_id=?")
    wrapped = _wrap(decorated_of(function), function)
    # In a class, an object without __get__ gets no `self`; our function would.
    return wrapped if hasattr(type(function), "__get__") else staticmethod(wrapped)


def _wrap(decorated: DecoratedFunction, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrapper of the same kind: plain, async, generator or async generator."""
    if _runs_as(_is_iterable_coroutine, function):

        @types.coroutine
        @functools.wraps(function)
        def traced_coroutine(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            minted, args = decorated.choose_message_id(args, kwargs)
            result = yield from function(*args, **kwargs)
            with decorated.errors_logged:
                decorated.keep(minted, result)
            return result

        return traced_coroutine
    if _runs_as(inspect.isasyncgenfunction, function):
        return StreamFunction(decorated, function, record_async_stream)
    if _runs_as(inspect.isgeneratorfunction, function):
        return StreamFunction(decorated, function, record_stream)
    if _runs_as(inspect.iscoroutinefunction, function):

        @functools.wraps(function)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            minted, args = decorated.choose_message_id(args, kwargs)
            result = await function(*args, **kwargs)
            with decorated.errors_logged:
                decorated.keep(minted, result)
            return result

        return traced_async

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        minted, args = decorated.choose_message_id(args, kwargs)
        result = function(*args, **kwargs)
        with decorated.errors_logged:
            decorated.keep(minted, result)
        return result

    return traced


def _runs_as(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Whether a function, or the `__call__` of an object, is of this kind."""
    return kind(function) or kind(type(function).__call__)


def _is_iterable_coroutine(function: Any) -> bool:
    """Whether `types.coroutine` made it. `inspect` calls it a generator, but callers await it."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)
