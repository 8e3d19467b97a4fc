"""The blueprint: what an app imports, registers and calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from flask import Blueprint, Response, current_app, has_request_context, request
from flask.sansio.app import App

from .cli import add_commands
from .config import Settings
from .errors import ConfigurationError, Refusal
from .messages.capture import Capture, Context, MessageID, Rater, add_header
from .messages.decorated import DecoratedFunction, check_arguments
from .messages.wrapping import decorate
from .model import Receipt
from .raters import Raters, tag
from .stores import Store, check_store, store_from_url
from .votes import EXTENSION, Votes, votes_of
from .web.assets import add_assets
from .web.routes import names_of, refuse_taken
from .web.views import add_route, problem_response

P = ParamSpec("P")
R = TypeVar("R")


class FeedbackBlueprint(Blueprint):
    """Records what users say about generated messages, next to the traces that made them.

    Register it, and decorate the function that generates a message. Your frontend posts to
    `/feedback`.

    `rater` is a function without arguments. The blueprint calls it inside a request, and it returns
    who is voting: any `str`, or `None` for an anonymous visitor. A message then belongs to the
    rater for whom it was generated. `rater` needs the app's `SECRET_KEY`: the blueprint keeps
    only a hash with that key.

    `store` is a ready store, used instead of `FEEDBACK_STORE_URL`. The name of each key that the
    blueprint reads from the app's configuration begins with `config_prefix`. All other arguments go
    to `flask.Blueprint`. Raises `ConfigurationError` for an argument that cannot work. The keys,
    with the default prefix:

    - `FEEDBACK_STORE_URL` (a SQLite file in the instance folder): where all is kept:
      `redis://`, `rediss://`, `unix://`, `redis+cluster://h1:p,h2:p`,
      `redis+sentinel://h1:p,h2:p/service/db`, `sqlite:///path` or `sqlite:////absolute/path`
    - `FEEDBACK_TTL` (7 days): how long a message can be rated, in seconds or as a `timedelta`
    - `FEEDBACK_VOTE_TTL` (30 days): how long a vote, from its last change, can be read back,
      changed and retracted; at least `FEEDBACK_TTL`
    - `FEEDBACK_KEY_PREFIX` (`"fb:"`): put before every key in the store
    - `FEEDBACK_STORE_TIMEOUT` (0.25): seconds of one attempt to reach the store; a call has two
    - `FEEDBACK_RATINGS` (any): a mapping of rating to score, or a `range`, scored from 0 to 1
    - `FEEDBACK_CATEGORIES` (any): a list of the allowed ones
    - `FEEDBACK_STORE_MESSAGE` (off): also keep the message's text next to its trace ID
    - `FEEDBACK_MAX_REVISIONS` (20): votes and retractions of one rater on one message; each change
      counts, and a last retraction is always taken
    """

    def __init__(
        self,
        name: str = "feedback",
        *,
        rater: Callable[[], str | None] | None = None,
        store: Store | None = None,
        config_prefix: str = "FEEDBACK_",
        **blueprint_options: Any,
    ) -> None:
        super().__init__(name, __name__, **blueprint_options)
        if rater is not None and not callable(rater):
            raise ConfigurationError(f"rater cannot be {rater!r}. Give a function.")
        check_store(store)
        self._rater = rater
        self._store = store
        self._config_prefix = config_prefix
        self._ids_attribute = f"{EXTENSION}.{id(self)}.message_ids"
        add_route(self, self._votes)
        self.register_error_handler(Refusal, problem_response)
        add_assets(self)
        add_commands(self, self._votes)

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Register on an app, once its configuration has been checked. Opens and sends nothing.

        Raises `ConfigurationError` for a value that cannot work, for a rater without a
        `SECRET_KEY`, and if the app already has a route at our path. The app is unchanged then.
        """
        settings = Settings.from_config(app.config, self._config_prefix)
        store, chosen_by = self._store, "the blueprint's store="
        if store is None:
            key, url = f"{self._config_prefix}STORE_URL", settings.store_url
            chosen_by = key if url else f"default: {key} is not set"
            store = store_from_url(
                url, timeout=settings.store_timeout, instance_path=app.instance_path, key=key
            )
        raters = Raters(self._rater, app.config)
        state = self.make_setup_state(app, options)
        refuse_taken(state)
        name = f"{state.name_prefix}.{state.name}".lstrip(".")
        namespace = "" if name == "feedback" else name
        super().register(app, options)
        registered = app.extensions.setdefault(EXTENSION, {})
        if self not in registered:
            registered[self] = Votes(app, settings, store, namespace, raters, chosen_by)
            # With after_app_request() the agent would trace this in each request of the app.
            app.after_request_funcs.setdefault(None, []).append(self._add_header)

    @overload
    def trace_message(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def trace_message(
        self,
        *,
        message_id: str | Callable[[Any], MessageID | None] | None = None,
        context: Context | Callable[[Any], Context] | None = None,
        content: Callable[[Any], str] | None = None,
        replace: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def trace_message(
        self,
        function: Callable[..., Any] | None = None,
        *,
        message_id: str | Callable[[Any], MessageID | None] | None = None,
        context: Context | Callable[[Any], Context] | None = None,
        content: Callable[[Any], str] | None = None,
        replace: bool = False,
    ) -> Callable[..., Any]:
        """Decorate the function that generates a message, to keep its trace ID with its message ID.

        The function may be plain, async, a generator or an async generator, and stays what it is.
        Its result goes to the caller untouched. Nothing that goes wrong here reaches the caller:
        the message then cannot be rated, and the log says why.

        `message_id`: by default the blueprint mints an ID that nobody can guess, and passes it as
        the keyword `message_id` if the function takes one. A string names a key or attribute of the
        result. A callable takes the result and returns the ID, or `None` if it is not a message.
        `context`: facts for each feedback event about the message, as a mapping or a callable that
        takes the result. `content`: a callable that takes the result and returns the text to keep
        under `FEEDBACK_STORE_MESSAGE`. By default a result that is a string is the text. `replace`:
        an answer that is made again under its ID is a new message without votes, if it has the same
        rater. Without `replace`, the first message under an ID stays.

        If the result is a stream, `message_id` and `context` take its first item, and `content`
        takes the list of its items. A stream with a minted ID is stashed when the function is
        called, any other before its first item.

        Raises `ConfigurationError` for an argument that can never work.
        """
        check_arguments(message_id, context, content)
        prepare = functools.partial(
            DecoratedFunction, self._capture, message_id, context, content, replace
        )
        decorator: Callable[..., Any] = functools.partial(decorate, prepare)
        return decorator if function is None else decorator(function)

    def stash(
        self,
        message_id: MessageID | None = None,
        *,
        context: Context | None = None,
        content: str | None = None,
        replace: bool = False,
        rater: Rater = ...,
    ) -> str | None:
        """Keep the trace ID of this request for a message, by hand.

        Mints an ID if none is given. Returns the message ID, or `None` if nothing could be kept:
        there is no trace ID, the ID is taken or blank, or the store is down. The log says which.
        Raises `RuntimeError` if there is no current app, or it does not have this blueprint.

        `context`: facts for each feedback event about the message, at most 16 strings, numbers and
        booleans. `content`: the text to keep under `FEEDBACK_STORE_MESSAGE`.

        The message belongs to the rater of this request. `rater` says for whom it was made if that
        is somebody else, or if there is no request: a `str`, or `None` for an anonymous visitor.
        Anybody who has its ID can rate the message of an anonymous visitor. If the blueprint has a
        rater, nothing is kept outside of a request without `rater`.

        `replace` is for an answer that is made again under its ID. If the old message belongs to
        the same rater, the new one takes its place and has no votes.
        """
        return self._capture().stash(
            message_id, context=context, content=content, replace=replace, rater=rater
        )

    def capture(self) -> Capture:
        """Return what only this request knows, to take it to a thread, a task or another process.

        There, `captured.stash()` keeps a message, and what calls the LLM inside
        `with captured.transaction("name"):` is in the trace of this request. The result can be
        pickled: see `Capture`.

        Outside of a request there is no rater to capture. Give `rater=` to `captured.stash()` then.

        Raises `RuntimeError` if there is no current app, or it does not have this blueprint.
        """
        captured = self._capture()
        captured.make_portable(names_of(current_app, self)[0])
        return captured

    def _capture(self) -> Capture:
        """Capture what one message that is made here needs."""
        message_ids: list[str] = []
        if has_request_context():
            # On the request object: all events of one socket share the WSGI environ.
            message_ids = vars(request).setdefault(self._ids_attribute, message_ids)
        votes, raters = self._votes(), None
        with votes.log.catch("The rater failed: nobody owns a message made here."):
            raters = votes.raters.of_request()
        return Capture(votes, raters, message_ids)

    @property
    def message_id(self) -> str | None:
        """The last message ID that was stashed in this request."""
        message_ids = vars(request).get(self._ids_attribute) if has_request_context() else None
        return message_ids[-1] if message_ids else None

    @property
    def rater_tag(self) -> str:
        """A text that differs from rater to rater and tells nothing else; empty if anonymous.

        Give it to `feedback.js`. Then it sends no vote that another rater left in the browser.
        Raises what the `rater` function raises, and `RuntimeError` as `stash` does.
        """
        return tag(self._votes().raters.of_caller()[0])

    def submit(
        self,
        message_id: MessageID,
        rating: str | int,
        category: str | None = None,
        message: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Take one vote of the current rater, as `POST /feedback` does.

        If no New Relic transaction runs, as in a socket's handler, this opens one.
        Raises a `feedback_blueprint.Refusal` if the vote is not taken, and `RuntimeError` as
        `stash` does.
        """
        fields = {
            "message_id": message_id,
            "rating": rating,
            "category": category,
            "message": message,
            "metadata": metadata,
        }
        votes = self._votes()
        return votes.submit(fields, votes.raters.of_caller())

    def retract(self, message_id: MessageID) -> Receipt:
        """Take the current rater's vote back, as `DELETE /feedback` does.

        Raises `UnknownMessage` if there is none, another `Refusal`, and `RuntimeError` as `stash`.
        """
        votes = self._votes()
        return votes.retract(message_id, votes.raters.of_caller())

    def _votes(self) -> Votes:
        return votes_of(self)

    def _add_header(self, response: Response) -> Response:
        """Tell the frontend the IDs of the messages that this request made."""
        if message_ids := vars(request).get(self._ids_attribute):
            log = self._votes().log
            with log.catch("A response goes out without the IDs of its messages."):
                add_header(response, message_ids, log)
        return response
