"""The decorator's work: wrap a function as the kind of function it is."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator
from types import MethodType
from typing import Any

from ..errors import ConfigurationError
from .decorated import DecoratedFunction
from .streams import StreamFunction, follow, follow_async


def trace(decorated_of: Callable[[Callable[..., Any]], DecoratedFunction], function: Any) -> Any:
    """Wrap a function as what it is; of what only holds one, the function inside.

    Raises `ConfigurationError` for what is no function.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(trace(decorated_of, function.__func__))
    if isinstance(function, functools.partial):  # its arguments, an ID maybe, are the caller's
        inside = trace(decorated_of, function.func)
        held = functools.partial(inside, *function.args, **function.keywords)
        return functools.update_wrapper(held, function)
    if type(function) is MethodType:  # not what only passes for one
        return MethodType(trace(decorated_of, function.__func__), function.__self__)
    if not callable(function):
        raise ConfigurationError(f"{function!r} is no function. Did you mean message_id=?")
    wrapped = _wrap(decorated_of(function), function)
    # What is no descriptor is no method of the class that holds it.
    return wrapped if hasattr(type(function), "__get__") else staticmethod(wrapped)


def _wrap(decorated: DecoratedFunction, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a plain function, an async one, a generator or an async generator."""
    if _runs_as(_is_iterable_coroutine, function):

        @types.coroutine
        @functools.wraps(function)
        def traced_coroutine(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            minted, args = decorated.mint(args, kwargs)
            result = yield from function(*args, **kwargs)
            with decorated.undisturbed:
                decorated.stash(minted, result)
            return result

        return traced_coroutine
    if _runs_as(inspect.isasyncgenfunction, function):
        return StreamFunction(decorated, function, follow_async)
    if _runs_as(inspect.isgeneratorfunction, function):
        return StreamFunction(decorated, function, follow)
    if _runs_as(inspect.iscoroutinefunction, function):

        @functools.wraps(function)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            minted, args = decorated.mint(args, kwargs)
            result = await function(*args, **kwargs)
            with decorated.undisturbed:
                decorated.stash(minted, result)
            return result

        return traced_async

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        minted, args = decorated.mint(args, kwargs)
        result = function(*args, **kwargs)
        with decorated.undisturbed:
            decorated.stash(minted, result)
        return result

    return traced


def _runs_as(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Ask of a function, or of the one that an object runs when it is called."""
    return kind(function) or kind(type(function).__call__)


def _is_iterable_coroutine(function: Any) -> bool:
    """Ask of what `types.coroutine` made: a generator to `inspect`, but to be awaited."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)
