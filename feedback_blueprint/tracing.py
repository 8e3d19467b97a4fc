"""Stashing: from a function that generates a message to the store, and never into the answer."""

from __future__ import annotations

import functools
import inspect
import logging
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any
from uuid import UUID

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from .attributes import MAX_ENTRIES, attribute_problem, message_id_text
from .errors import AgentNotRecording, ConfigurationError, StoreUnavailable
from .stores import Message
from .votes import Votes

MessageID = str | int | UUID
Context = Mapping[str, Any]

log = logging.getLogger(__package__)


class Capture:
    """What a request knows that other threads do not: the app, the trace ID and the rater.

    Made by `FeedbackBlueprint.capture()`. Its `stash` works anywhere.
    """

    def __init__(self, votes: Votes, owner: bytes | None, announced: list[str]) -> None:
        self.votes = votes
        self._owner = owner
        self._announced = announced
        self._trace_id = votes.agent.trace_id()
        self._why_blind = "" if self._trace_id else _why_blind(votes)

    def stash(
        self,
        message_id: MessageID | None = None,
        *,
        context: Context | None = None,
        content: str | None = None,
    ) -> str | None:
        """Keep a message for rating, as `FeedbackBlueprint.stash` does."""
        kept = self.keep(message_id, context or {}, content)
        return kept[0] if kept else None

    def keep(
        self, message_id: MessageID | None, context: Context, content: str | None
    ) -> tuple[str, Message] | None:
        """Keep a message and return its ID and what was kept; `None`, with a reason in the log."""
        votes = self.votes
        if self._trace_id is None:
            text = "A message cannot be rated: it has no trace ID. %s"
            votes.complaints.warn("trace ID", text, self._why_blind)
        if self._trace_id is None or self._owner is None:
            votes.agent.count("StashesMissed")
            return None
        try:
            key = secrets.token_urlsafe(16) if message_id is None else message_id_text(message_id)
            message = Message(
                self._trace_id, self._owner, self._valid(context), self._content_to_keep(content)
            )
            if not votes.stash(key, message):
                text = "Message %r was stashed before and stays what it was: use each ID once."
                votes.complaints.warn("taken ID", text, key)
                return None
        except ValueError as error:
            votes.complaints.warn("ID", "Message ID %r cannot be used. %s", message_id, error)
            return None
        except StoreUnavailable:  # the store's guard has said so
            votes.agent.count("StashesMissed")
            return None
        self._announced.append(key)
        return key, message

    def amend(self, key: str, message: Message) -> None:
        """Keep more of a message that was kept before."""
        content = self._content_to_keep(message.content)
        context = self._valid(message.context)
        with suppress(StoreUnavailable):  # the store's guard has said so
            self.votes.amend(key, Message(message.trace_id, message.owner, context, content))

    def _valid(self, context: Context) -> dict[str, Any]:
        """Return the entries that an event can carry, and say in the log what is left out."""
        valid: dict[str, Any] = {}
        for name, value in context.items():
            problem = attribute_problem(name, value)
            if problem is None and len(valid) == MAX_ENTRIES:
                problem = f"Over {MAX_ENTRIES} entries."
            if problem is None:
                valid[name] = value
            else:
                text = "Context entry %r is left out. %s"
                self.votes.complaints.warn(f"context {name!r}", text, name, problem)
        return valid

    def _content_to_keep(self, content: object) -> str | None:
        if not self.votes.settings.store_message or not isinstance(content, str):
            return None
        return content.encode(errors="replace").decode()


class Tracer:
    """One decorated function: everything about it that is known before it is called."""

    def __init__(
        self,
        capture: Callable[[], Capture],
        function: Callable[..., Any],
        message_id: str | Callable[[Any], Any] | None,
        context: Context | Callable[[Any], Context] | None,
        content: Callable[[Any], str] | None,
    ) -> None:
        self.capture = capture
        self.message_id = message_id
        self.context_of = context if callable(context) else None
        self.context = {} if context is None or callable(context) else dict(context)
        self.content_of = content
        self._position = _position_of_message_id(function) if message_id is None else None

    def mint(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[MessageID | None, tuple[Any, ...]]:
        """Choose the ID of a call and put it where the function takes it; return it and `args`.

        An ID that the caller passes stands. `None` where the ID comes from the result.
        """
        if self.message_id is not None:
            return None, args
        position = self._position
        if position is None:
            return secrets.token_urlsafe(16), args
        if position < len(args):
            if args[position] is not None:
                return args[position], args
            minted = secrets.token_urlsafe(16)
            return minted, (*args[:position], minted, *args[position + 1 :])
        if kwargs.get("message_id") is None:
            kwargs["message_id"] = secrets.token_urlsafe(16)
        return kwargs["message_id"], args

    def id_of(self, result: Any) -> Any:
        """Take the ID from the result; `None` means that it is not a message."""
        if callable(self.message_id):
            return self.message_id(result)
        name = str(self.message_id)
        if isinstance(result, tuple):
            result = result[0]
        if isinstance(result, Response) and result.is_json:
            result = result.get_json()
        return result[name] if isinstance(result, Mapping) else getattr(result, name)

    def stash(self, minted: MessageID | None, result: Any) -> None:
        """Stash what a plain function returned, if it is a message."""
        with _quietly():
            if result is None or _status(result) >= 400:
                return
            message_id = self.id_of(result) if minted is None else minted
            if message_id is None:
                return
            content = result
            if self.content_of:
                content = _or_none(self.content_of, result)
            self.capture().keep(message_id, self.context_for(result), content)

    def context_for(self, result: Any) -> Context:
        """Return the context of a message; what fails costs the context alone."""
        if self.context_of is None:
            return self.context
        return _or_none(self.context_of, result) or {}


class Follower:
    """Follows one stream: the first item may carry ID and context, all of it is the content."""

    def __init__(self, tracer: Tracer, minted: MessageID | None) -> None:
        self._tracer = tracer
        self._items: list[Any] | None = None
        self._kept: tuple[str, Message] | None = None
        self._fresh = False
        with _quietly():
            self._capture = tracer.capture()
            if tracer.message_id is None:
                self._kept = self._capture.keep(minted, tracer.context, None)
                self._fresh = self._kept is not None and tracer.context_of is not None
            else:
                self._fresh = True
            if self._capture.votes.settings.store_message and (self._kept or self._fresh):
                self._items = []

    @property
    def needed(self) -> bool:
        """Whether there is anything to do after the call."""
        return self._fresh or self._items is not None

    def see(self, item: Any) -> None:
        """Look at an item before it is handed out."""
        if self._fresh:
            self._fresh = False
            with _quietly():
                self._first(item)
        if self._items is not None:
            self._items.append(item)

    def _first(self, item: Any) -> None:
        tracer = self._tracer
        context = tracer.context_for(item)
        if self._kept is None:
            message_id = tracer.id_of(item)
            if message_id is not None:
                self._kept = self._capture.keep(message_id, context, None)
        else:
            key, message = self._kept
            self._kept = key, Message(message.trace_id, message.owner, context)
            self._capture.amend(*self._kept)

    def end(self) -> None:
        """Keep the content, also of a stream that its reader stopped."""
        if self._items is None or self._kept is None:
            return
        with _quietly():
            key, message = self._kept
            content = _or_none(self._tracer.content_of or _joined, self._items)
            message = Message(message.trace_id, message.owner, message.context, content)
            self._capture.amend(key, message)


def trace(tracer: Tracer, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function as what it is: plain, async, generator or async generator."""
    if inspect.isasyncgenfunction(function):
        return StreamFunction(tracer, function, _follow_async)
    if inspect.isgeneratorfunction(function):
        return StreamFunction(tracer, function, _follow)
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


class StreamFunction:
    """A generator function that does something when it is called, not when it is first read.

    A generator function cannot, so this is an object that `inspect` takes for the one it wraps.
    """

    def __init__(
        self,
        tracer: Tracer,
        function: Callable[..., Any],
        follow: Callable[[Any, Follower], Any],
    ) -> None:
        functools.update_wrapper(self, function)
        self._tracer = tracer
        self._function = function
        self._follow = follow

    __class__ = property(lambda _: FunctionType)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_function"], name)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Stash, then return the stream."""
        minted, args = self._tracer.mint(args, kwargs)
        stream = self._function(*args, **kwargs)
        follower = Follower(self._tracer, minted)
        return self._follow(stream, follower) if follower.needed else stream


def _follow(stream: Generator[Any, Any, Any], follower: Follower) -> Generator[Any, Any, Any]:
    """Hand a stream through: what `yield from` does, with an eye on each item."""
    try:
        item = next(stream)
        while True:
            follower.see(item)
            try:
                sent = yield item
            except GeneratorExit:
                stream.close()
                raise
            except BaseException as error:
                item = stream.throw(error)
            else:
                item = stream.send(sent)
    except StopIteration as stop:
        return stop.value
    finally:
        follower.end()


async def _follow_async(
    stream: AsyncGenerator[Any, Any], follower: Follower
) -> AsyncGenerator[Any, Any]:
    """Do the same for an async stream."""
    try:
        item = await anext(stream)
        while True:
            follower.see(item)
            try:
                sent = yield item
            except GeneratorExit:
                await stream.aclose()
                raise
            except BaseException as error:
                item = await stream.athrow(error)
            else:
                item = await stream.asend(sent)
    except StopAsyncIteration:
        return
    finally:
        follower.end()


class _quietly:  # noqa: N801
    """Log what goes wrong in here, and let the answer go on."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if isinstance(error, Exception):
            log.error("The message, or something about it, is not kept.", exc_info=error)
            return True
        return False


def _or_none(function: Callable[[Any], Any], result: Any) -> Any:
    """Call the app's own function; `None` and a line in the log if it fails."""
    with _quietly():
        return function(result)
    return None


def check_context(context: Context) -> None:
    """Raise `ConfigurationError` for a context that could never go on an event."""
    if len(context) > MAX_ENTRIES:
        raise ConfigurationError(f"context has more than {MAX_ENTRIES} entries. Leave some out.")
    for name, value in context.items():
        if problem := attribute_problem(name, value):
            raise ConfigurationError(f"context cannot hold {name!r}: {value!r}. {problem}")


def _why_blind(votes: Votes) -> str:
    try:
        votes.agent.check()
    except AgentNotRecording as error:
        return str(error)
    return ""


def _joined(items: list[Any]) -> str | None:
    texts = [item for item in items if isinstance(item, str)]
    return "".join(texts) if texts else None


def _status(result: Any) -> int:
    """Return the status that Flask would answer with, as far as the result says it."""
    if isinstance(result, Response):
        return result.status_code
    if isinstance(result, HTTPException):
        return result.code or 500
    if isinstance(result, tuple) and len(result) in (2, 3):
        status = result[1]
        if isinstance(status, int):
            return status
        if isinstance(status, str):
            return int(status.split()[0])
        return _status(result[0])
    return 200


def _position_of_message_id(function: Callable[..., Any]) -> int | None:
    """Return where a function takes `message_id`; past all arguments if by keyword alone."""
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.name == "message_id":
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                return position
            if parameter.kind is parameter.KEYWORD_ONLY:
                return sys.maxsize
    return None
