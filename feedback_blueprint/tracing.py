"""The decorator's work: wrap a function as the kind of function it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .streams import StreamFunction, follow, follow_async
from .tracer import Tracer


def trace(tracer: Tracer, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function as what it is: plain, async, generator or async generator."""
    if inspect.isasyncgenfunction(function):
        return StreamFunction(tracer, function, follow_async)
    if inspect.isgeneratorfunction(function):
        return StreamFunction(tracer, function, follow)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            minted, args = tracer.mint(args, kwargs)
            result = await function(*args, **kwargs)
            tracer.stash(minted, result)
            return result

        return traced_async

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        minted, args = tracer.mint(args, kwargs)
        result = function(*args, **kwargs)
        tracer.stash(minted, result)
        return result

    return traced
