"""The decorator: it wraps a function, which stays the kind of function that it is."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import MethodType
from typing import Any

from ..errors import ConfigurationError
from .decorated import DecoratedFunction, StreamRecorder


def decorate(prepare: Callable[[Callable[..., Any]], DecoratedFunction], function: Any) -> Any:
    """Wrap a function, or the function inside a method, a partial or the like.

    `prepare` returns what is known of a function before its calls. Raises
    `ConfigurationError` if `function` is not a function.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(decorate(prepare, function.__func__))
    if isinstance(function, functools.partial):  # its own arguments may have the ID
        inside = decorate(prepare, function.func)
        held = functools.partial(inside, *function.args, **function.keywords)
        return functools.update_wrapper(held, function)
    if type(function) is MethodType:  # other objects only look like one
        return MethodType(decorate(prepare, function.__func__), function.__self__)
    if not callable(function):
        raise ConfigurationError(f"{function!r} is not a function. Did you mean message_id=?")
    wrapped = _wrap(prepare(function), function)
    # In a class, an object without __get__ gets no `self`; our function would.
    return wrapped if hasattr(type(function), "__get__") else staticmethod(wrapped)


def _wrap(decorated: DecoratedFunction, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrapper of the same kind: plain, async, generator or async generator."""
    if _runs_as(inspect.isasyncgenfunction, function):
        return StreamFunction(decorated, function, record_async_stream)
    if _runs_as(_is_generator_function, function):
        return StreamFunction(decorated, function, record_stream)
    if _runs_as(inspect.iscoroutinefunction, function):

        @functools.wraps(function)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            chosen, args = decorated.choose_message_id(args, kwargs)
            result = await function(*args, **kwargs)
            with decorated.errors_caught:
                decorated.keep(chosen, result)
            return result

        return traced_async

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen, args = decorated.choose_message_id(args, kwargs)
        result = function(*args, **kwargs)
        with decorated.errors_caught:
            decorated.keep(chosen, result)
        return result

    return traced


def _runs_as(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Whether a function, or the `__call__` of an object, is of this kind."""
    return kind(function) or kind(type(function).__call__)


def _is_generator_function(function: Any) -> bool:
    """Whether a call makes a stream. `inspect` takes what `types.coroutine` made for one, too."""
    code = getattr(function, "__code__", None)
    is_awaited = code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE
    return inspect.isgeneratorfunction(function) and not is_awaited


class StreamFunction:
    """A generator function that stashes its message when it is called, not when it is first read.

    A real generator function cannot do that. So this is an object that `inspect` takes for the
    generator function that it wraps. The agent asks `inspect`: its `function_trace()` above our
    decorator then times the whole stream, and not only the call.
    """

    def __init__(
        self,
        decorated: DecoratedFunction,
        function: Callable[..., Any],
        record: Callable[[Any, StreamRecorder], Any],
    ) -> None:
        functools.update_wrapper(self, function)
        self._decorated = decorated
        self._function = function
        self._record = record

    # For inspect.isfunction(). The flags of generator functions are in __code__, see below.
    __class__ = property(lambda self: self._function.__class__)  # pyright: ignore[reportIncompatibleMethodOverride]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_function"], name)

    def __reduce__(self) -> str:
        return str(self.__qualname__)  # a function is copied as itself and pickled by its name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Stash the message, then return the stream."""
        chosen, args = self._decorated.choose_message_id(args, kwargs)
        stream = self._function(*args, **kwargs)
        with self._decorated.errors_caught:
            recorder = StreamRecorder(self._decorated)
            recorder.begin(chosen)
            if recorder.needed:
                stream = self._record(stream, recorder)
        return stream


def record_stream(
    stream: Generator[Any, Any, Any], recorder: StreamRecorder
) -> Generator[Any, Any, Any]:
    """Hand a stream through as `yield from` does, and record each item."""
    try:
        item = next(stream)
        while True:
            with recorder.errors_caught:
                recorder.add(item)
            try:
                sent = yield item
            except BaseException as error:
                item = stream.throw(error)
            else:
                item = stream.send(sent)
    except StopIteration as stop:
        return stop.value
    finally:
        with recorder.errors_caught:
            recorder.end()


async def record_async_stream(
    stream: AsyncGenerator[Any, Any], recorder: StreamRecorder
) -> AsyncGenerator[Any, Any]:
    """Hand an async stream through, and record each item."""
    try:
        item = await _ask_for_first(stream)
        while True:
            with recorder.errors_caught:
                recorder.add(item)
            try:
                sent = yield item
            except BaseException as error:
                item = await stream.athrow(error)
            else:
                item = await stream.asend(sent)
    except StopAsyncIteration:
        return
    finally:
        with recorder.errors_caught:
            recorder.end()


def _ask_for_first(stream: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Ask for the first item, without the event loop's hooks for async generators.

    With them, the loop would close this stream at its end while the stream around it does the same.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return anext(stream)
    finally:
        sys.set_asyncgen_hooks(*hooks)
