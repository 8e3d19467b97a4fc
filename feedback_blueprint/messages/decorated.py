"""What is known of a decorated function, and how its result, or its stream, becomes a message."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ..attributes import RESERVED_NAME, new_message_id, validate_entries
from ..errors import ConfigurationError
from ..logs import CatchAndLog, ThrottledLog
from ..model import Message
from .capture import Capture, Context, MessageID

STATUSES = frozenset(HTTPStatus)


class DecoratedFunction:
    """One decorated function: everything about it that is known before it is called.

    All that is done after the function has returned runs `with errors_caught`: no error of ours may
    reach the caller.
    """

    def __init__(
        self,
        capture: Callable[[], Capture],
        message_id: str | Callable[[Any], Any] | None,
        context: Context | Callable[[Any], Context] | None,
        content: Callable[[Any], str] | None,
        replace: bool,
        function: Callable[..., Any],
    ) -> None:
        self.capture = capture
        self.message_id = message_id
        self.context_of: Callable[[Any], Context] | None = context if callable(context) else None
        constant = {} if context is None or callable(context) else context
        self._context, self._left_out = validate_entries(constant)
        self.content_of = content
        self.replace = replace
        self._name = getattr(function, "__qualname__", type(function).__qualname__)
        self._log = ThrottledLog()
        self.errors_caught = self._catch()
        self._position = _position_of_message_id(function) if message_id is None else None

    def choose_message_id(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[MessageID | None, tuple[Any, ...]]:
        """Choose the message ID of a call, and put it into the arguments.

        Returns the ID and the new `args`, and changes `kwargs`. If the caller passes an ID, it
        stays. `None`: the function does not take an ID. Then the result has one, or `Capture.keep`
        mints it.
        """
        position = self._position
        if position is None:
            return kwargs.get("message_id"), args
        by_position = position < len(args)
        given = args[position] if by_position else kwargs.get("message_id")
        if given is not None:
            return given, args
        try:
            minted = new_message_id()
        except RecursionError:
            minted = ""  # so nothing is kept; the function itself may need less of the stack
        if by_position:
            return minted, (*args[:position], minted, *args[position + 1 :])
        kwargs["message_id"] = minted
        return minted, args

    def id_of(self, result: Any) -> Any:
        """Return the ID that the result, or the first item of a stream, has.

        `None`: it is not a message, or it has no such ID and the log says so.
        """
        if callable(self.message_id):
            return self.apply("message_id", self.message_id, result)
        return self.apply("message_id", self._id_by_name, result)

    def _id_by_name(self, result: Any) -> Any:
        name, source = str(self.message_id), _body(result)
        try:
            # A defaultdict would add a key that it does not have.
            if not isinstance(source, Mapping) or name in source:
                with suppress(TypeError, LookupError):
                    return source[name]
            return getattr(source, name)
        except AttributeError as error:
            if error.obj is not source or error.name != name:  # the app's own code failed
                raise
        text = (
            "A message of %s() is not kept: message_id= names %r, and a %s has no such key or "
            "attribute. Return or yield mappings or objects that do, give message_id= a function, "
            "or leave it out: the blueprint then mints an ID."
        )
        self._log.warn("message_id", text, self._name, name, type(source).__name__)
        return None

    def keep(self, chosen: MessageID | None, result: Any) -> None:
        """Keep what a function returned, if it is a message."""
        if result is None:
            return
        status = _status(result)
        if status >= 400:
            if status not in STATUSES:
                text = "A message of %s() is not kept: Flask takes %s for its HTTP status."
                self._log.warn("status", text, self._name, status)
            return
        message_id = chosen
        if self.message_id is not None:
            message_id = self.id_of(result)
            if message_id is None:
                return
        capture, content = self.capture(), result
        if self.content_of and capture.votes.settings.store_message:
            content = self.apply("content", self.content_of, result)
        context = self.context_for(capture, result)
        capture.keep(message_id, context, content, replace=self.replace)

    def context_for(self, capture: Capture, result: Any) -> Context:
        """Return the valid context of a message. If that fails, the message has no context."""
        context_of = self.context_of
        if context_of is None:
            capture.log_left_out(self._left_out)
            return self._context
        valid: Context | None = self.apply(
            "context", lambda result: capture.valid(dict(context_of(result) or {})), result
        )
        return valid or {}

    def apply(self, argument: str, function: Callable[[Any], Any], result: Any) -> Any:
        """Call a function that the app gave the decorator; `None`, and a log line, if it fails."""
        with self._catch(f" {argument}= failed."):
            return function(result)
        return None

    def _catch(self, why: str = "") -> CatchAndLog:
        text = f"A message of %s() is not kept, or not whole.{why}"
        return self._log.catch(text, self._name)


class StreamRecorder:
    """Records a stream: the first item may give ID and context, and all items give the content."""

    def __init__(self, decorated: DecoratedFunction) -> None:
        self.errors_caught = decorated.errors_caught
        self._decorated = decorated
        self._items: list[Any] | None = None
        self._kept: tuple[str, Message] | None = None
        self._awaits_first = True
        self._capture = decorated.capture()

    def begin(self, chosen: MessageID | None) -> None:
        """Stash the message, unless its ID comes with the first item."""
        decorated, capture = self._decorated, self._capture
        if decorated.message_id is None:
            context = {} if decorated.context_of else decorated.context_for(capture, None)
            self._kept = capture.keep(chosen, context, None, replace=decorated.replace)
            self._awaits_first = self._kept is not None and decorated.context_of is not None
        if capture.votes.settings.store_message and (self._kept or self._awaits_first):
            self._items = []

    @property
    def needed(self) -> bool:
        """Whether the items have to be recorded."""
        return self._awaits_first or self._items is not None

    def add(self, item: Any) -> None:
        """Add an item, before the reader gets it."""
        if self._items is not None:
            self._items.append(item)
        if self._awaits_first:
            self._awaits_first = False
            self._first(item)

    def _first(self, item: Any) -> None:
        decorated, capture = self._decorated, self._capture
        if self._kept is None:
            message_id = decorated.id_of(item)
            if message_id is not None:
                context = decorated.context_for(capture, item)
                self._kept = capture.keep(message_id, context, None, replace=decorated.replace)
        else:
            message_id, message = self._kept
            self._kept = message_id, message._replace(context=decorated.context_for(capture, item))
            capture.amend(*self._kept)

    def end(self) -> None:
        """Keep the content, even if the reader stopped before the end."""
        if self._items is None or self._kept is None:
            return
        message_id, message = self._kept
        content = self._decorated.apply(
            "content", self._decorated.content_of or _joined, self._items
        )
        self._capture.amend(message_id, message._replace(content=content))


def _joined(items: list[Any]) -> str | None:
    texts = [item for item in items if isinstance(item, str)]
    return "".join(texts) if texts else None


def check_arguments(message_id: Any, context: Any, content: Any) -> None:
    """Raise `ConfigurationError` for an argument that can never work."""
    if not (
        message_id is None or callable(message_id) or (isinstance(message_id, str) and message_id)
    ):
        raise ConfigurationError(
            f"message_id cannot be {message_id!r}. Name a key of the result, or give a function."
        )
    if not (content is None or callable(content)):
        raise ConfigurationError(f"content cannot be {content!r}. Give a function of the result.")
    if context is None or callable(context):
        return
    if not isinstance(context, Mapping):
        raise ConfigurationError(
            f"context cannot be {context!r}. Give a mapping, or a function of the result."
        )
    _, problems = validate_entries(context)
    for name, problem in problems.items():
        if problem != RESERVED_NAME:  # our attribute wins, as over a context from a function
            raise ConfigurationError(f"context cannot hold {name!r}: {context[name]!r}. {problem}")


def _body(result: Any) -> Any:
    """Return the body of a result without status and headers; for a response, its JSON."""
    if type(result) is tuple:  # a named tuple is the app's own object
        result = result[0]
    if isinstance(result, Response) and result.is_json and result.is_sequence:
        return result.get_json()
    return result


def _status(result: Any) -> int:
    """Return the HTTP status that Flask would answer with, as far as the result says it."""
    if isinstance(result, tuple) and len(result) in (2, 3):
        status = result[1]
        if isinstance(status, str) and status[:3].isdecimal():
            status = int(status[:3])
        # A reply beside its number of tokens, or its model, is not a response.
        if isinstance(status, int) and status <= 599:
            return status
        result = result[0]
    if isinstance(result, Response):
        return result.status_code
    if isinstance(result, HTTPException):
        return result.code or 500
    return 200


def _position_of_message_id(function: Callable[..., Any]) -> int | None:
    """Return the position of the parameter `message_id`; `sys.maxsize` if it is keyword-only.

    `None`: the function does not take it, or a decorator below ours does not pass it on. Raises
    `ValueError` if it wraps itself.
    """
    parameters = _parameters(inspect.unwrap(function, stop=_takes_or_drops_message_id))
    if "message_id" not in parameters:
        return None
    parameter = parameters["message_id"]
    if parameter.kind is parameter.KEYWORD_ONLY:
        return sys.maxsize
    by_name_too = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    return [*parameters].index("message_id") if by_name_too else None


def _takes_or_drops_message_id(function: Callable[..., Any]) -> bool:
    parameters = _parameters(function)
    passes_on = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return "message_id" in parameters or not passes_on


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function, follow_wrapped=False).parameters
    except ValueError:  # a builtin may have no signature: it can be given anything
        return inspect.signature(lambda *_, **__: None).parameters
