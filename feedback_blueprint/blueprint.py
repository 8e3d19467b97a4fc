"""The face: what a user of the package imports and calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from flask import Blueprint, Response, current_app, has_request_context, request
from flask.sansio.app import App

from .cli import add_commands
from .config import Settings
from .errors import ConfigurationError, Refusal
from .messages.capture import Capture, Context, MessageID, Rater
from .messages.decorated import DecoratedFunction, check_arguments
from .messages.header import announce
from .messages.wrapping import trace
from .model import Receipt
from .raters import Raters, tag
from .stores import Store, check_store, store_from_url
from .votes import EXTENSION, Votes, votes_of
from .web.assets import add_assets
from .web.routes import names_of, refuse_taken
from .web.views import add_route, problem

P = ParamSpec("P")
R = TypeVar("R")


class FeedbackBlueprint(Blueprint):
    """Records what users say of generated messages next to the traces that made them.

    Register it and decorate the function that generates a message; your frontend posts to
    `/feedback`.

    `rater` is called without arguments inside a request and returns who is voting, any `str`, or
    `None` for an anonymous visitor. A message then belongs to the rater it was generated for. It
    needs the app's `SECRET_KEY`: only a keyed hash is ever stored or sent.

    `store` is a ready store, used instead of `FEEDBACK_STORE_URL`. `config_prefix` comes before
    each key of the app's configuration, and everything else goes to `flask.Blueprint`. The keys,
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
    - `FEEDBACK_CATEGORIES` (any): a list of those allowed
    - `FEEDBACK_STORE_MESSAGE` (off): also keep the message's text next to its trace ID
    - `FEEDBACK_MAX_REVISIONS` (20): votes of one rater on one message, with changes and retractions
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
        self._announced = f"{EXTENSION}.{id(self)}.announced"
        add_route(self, self._votes)
        self.register_error_handler(Refusal, problem)
        add_assets(self)
        add_commands(self, self._votes)

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Read and check the app's configuration; nothing is opened or sent yet.

        Raises `ConfigurationError` for a value that cannot work, for a rater without a
        `SECRET_KEY`, and where the app already has a route at our path; the app is then as before.
        """
        settings = Settings.from_config(app.config, self._config_prefix)
        store, key = self._store, f"{self._config_prefix}STORE_URL"
        chosen_by = "the blueprint's store="
        if store is None:
            chosen_by = key if settings.store_url else f"default: {key} is not set"
            store = store_from_url(
                settings.store_url,
                timeout=settings.store_timeout,
                instance_path=app.instance_path,
                key=key,
            )
        name = f"{options.get('name_prefix', '')}.{options.get('name', self.name)}".lstrip(".")
        namespace = "" if name == "feedback" else name
        raters = Raters(self._rater, app.config)
        refuse_taken(self.make_setup_state(app, options))
        super().register(app, options)
        registered = app.extensions.setdefault(EXTENSION, {})
        if self not in registered:
            registered[self] = Votes(settings, store, namespace, raters, chosen_by)
            # after_app_request() would have the agent trace this in each request of the host app.
            app.after_request_funcs.setdefault(None, []).append(self._announce)

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
        """Decorate the function that generates a message: its trace ID is kept with its ID.

        It may be plain, async, a generator or an async generator, and stays what it is. What it
        returns is handed through untouched, and nothing that goes wrong here ever reaches its
        caller: the message then cannot be rated, and the log says why.

        `message_id`: by default an unguessable ID is minted and passed as the keyword
        `message_id`, if the function takes one. A string names a key or attribute of the result;
        a callable takes the result and returns the ID, or `None` where it is not a message.
        `context`: facts for each feedback event about the message, a mapping or a callable that
        takes the result. `content`: takes the result and returns the text to keep under
        `FEEDBACK_STORE_MESSAGE`; by default a result that is a string is the text. `replace`: an
        answer that is made again under its ID is a new message, with no votes, if it has the same
        rater; without it, the first message under an ID stands.

        Of a stream, `message_id` and `context` take the first item, `content` the list of items.
        With a minted ID a stream is stashed when it is called, else before its first item.

        Raises `ConfigurationError` for an argument that can never work.
        """
        check_arguments(message_id, context, content)
        decorated_of = functools.partial(
            DecoratedFunction, self._capture, message_id, context, content, replace
        )
        decorate: Callable[..., Any] = functools.partial(trace, decorated_of)
        return decorate if function is None else decorate(function)

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

        Mints an ID if none is given. Returns the message ID, or `None` where nothing could be
        kept: no trace ID, the ID is taken or blank, or the store is down. The log says which.
        Raises `RuntimeError` where no app is known, or one without this blueprint.

        The message belongs to the rater of this request. `rater` says for whom it was made where
        there is no request to ask, or if it is for somebody else: a `str`, or `None` for an
        anonymous visitor, whose message anybody can rate who holds its ID. Outside of a request,
        nothing is kept without it, if the blueprint has a rater.

        `replace` is for an answer that is made again under the ID it had: if that belongs to the
        same rater, this is a new message in its place, with no votes.
        """
        return self._capture().stash(
            message_id, context=context, content=content, replace=replace, rater=rater
        )

    def capture(self) -> Capture:
        """Take along what only this request knows: `stash` works on the result anywhere.

        In a thread, a task or another process `with captured.transaction("name"):` runs what calls
        the LLM in the trace of this request. The result can be pickled, see `Capture`.

        Outside of a request it knows no rater, which `stash` then has to be told.

        Raises `RuntimeError` where no app is known, or one without this blueprint.
        """
        captured = self._capture()
        captured.prepare_to_leave(names_of(current_app, self)[0])
        return captured

    def _capture(self) -> Capture:
        """Capture what a message made here needs: once for each, so nothing more is done."""
        # Not in the environment, which all events of a socket share.
        announced = vars(request).setdefault(self._announced, []) if has_request_context() else []
        votes, raters = self._votes(), None
        with votes.log.quietly("The rater failed: nobody owns a message made here."):
            raters = votes.raters.of_request()
        return Capture(votes, raters, announced)

    @property
    def message_id(self) -> str | None:
        """The last message ID that was stashed in this request."""
        announced = vars(request).get(self._announced) if has_request_context() else None
        return announced[-1] if announced else None

    @property
    def rater_tag(self) -> str:
        """What tells a page who votes, and nothing else of them; empty for an anonymous visitor.

        Give it to `feedback.js`, so that it sends no vote that another rater left in the browser.
        Raises what the rater raises, and `RuntimeError` as `stash` does.
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

        Where no New Relic transaction runs, as in a socket's handler, it runs in one of its own.
        Raises a `feedback_blueprint.Refusal` for what is not taken, `RuntimeError` as `stash` does.
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

        Raises `UnknownMessage` where there is none, any other `Refusal`, `RuntimeError` as `stash`.
        """
        votes = self._votes()
        return votes.retract(message_id, votes.raters.of_caller())

    def _votes(self) -> Votes:
        return votes_of(self)

    def _announce(self, response: Response) -> Response:
        """Tell the frontend the IDs of the messages in this response."""
        if announced := vars(request).get(self._announced):
            log = self._votes().log
            with log.quietly("A response goes out without the IDs of its messages."):
                announce(response, announced, log)
        return response
