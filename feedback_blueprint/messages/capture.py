"""What a request knows of its messages, how one is kept, and how the response names them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import EllipsisType
from typing import Any
from uuid import UUID

from flask import Response

from ..agent.new_relic import Headers
from ..attributes import message_id_text, new_message_id, validate_entries
from ..errors import AgentNotRecording, StoreUnavailable
from ..logs import ThrottledLog
from ..model import Message
from ..votes import Votes, votes_of

MessageID = str | int | UUID
Context = Mapping[str, Any]
Rater = str | None | EllipsisType
"""For whom a message is made; `...` is the rater of the request."""


TAKEN = (
    "Message %r was stashed before and stays what it was: use each ID once, or replace=True for an "
    "answer that is made again."
)

OWNED_BY_ANOTHER = (
    "Message %r was stashed before for another rater and stays what it was: replace it for the one "
    "it was made for, or use another ID."
)

HEADER = "X-Message-ID"

MAX_IDS = 64
"""IDs in one response: many clients refuse more than 100 headers."""

MAX_BYTES = 4096
"""Bytes of all these header lines: a proxy takes 4 to 8 KB of headers."""

NONCE_BYTES = 8
"""Bytes of the nonce that tells a message from the one that it replaces."""


class Capture:
    """What a request knows that other threads do not: the app, the trace ID and the rater.

    Made by `FeedbackBlueprint.capture()`. Its methods work anywhere.

    It can be pickled. The pickle has no secrets: it has the trace ID, New Relic's headers for other
    processes of the trace, keyed hashes of the rater, and the blueprint's name. After loading, its
    methods need an app context of an app that has the blueprint under that name. Without one they
    raise `RuntimeError`.
    """

    def __init__(
        self, votes: Votes, raters: Sequence[bytes] | None, message_ids: list[str]
    ) -> None:
        self._votes: Votes | None = votes
        self._blueprint = ""
        self._headers: Headers = ()
        self._raters = raters
        self._message_ids = message_ids
        self._trace_id: str | None = None
        self._why_no_trace_id = "The agent failed."
        with votes.log.catch("The agent failed: a message made here cannot be rated."):
            try:
                self._trace_id = votes.agent.trace_id()
            except AgentNotRecording as error:
                self._why_no_trace_id = str(error)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process cannot have: the app, and the response."""
        return vars(self) | {"_votes": None, "_message_ids": []}

    @property
    def votes(self) -> Votes:
        """What the app of the request holds; after unpickling, what the current app holds."""
        return votes_of(self._blueprint) if self._votes is None else self._votes

    def make_portable(self, blueprint: str) -> None:
        """Add what another thread or process needs: headers, and the blueprint's name there."""
        self._blueprint = blueprint
        with self.votes.log.catch("What is captured here cannot go on in its trace."):
            self._headers = self.votes.agent.headers()

    @contextmanager
    def transaction(self, name: str) -> Generator[None, None, None]:
        """Run the work of a `with` block in a New Relic transaction of the captured trace.

        So New Relic shows the LLM calls of a thread, a task or another process with the feedback.
        It is a background transaction with this name. If a transaction runs already, that one joins
        the trace, unless it has joined another. If New Relic will not show the LLM calls, the log
        says why, and the work runs all the same. `transaction("name")` can also decorate a
        function.
        """
        text = "New Relic does not show the LLM calls of %r with the feedback."
        agent, log = self.votes.agent, self.votes.log
        end: Callable[..., object] = _nothing
        with log.catch(text, name):
            transaction = agent.resume(name, self._headers)
            transaction.__enter__()
            end = transaction.__exit__
            why = (
                self._why_no_trace_id
                if self._trace_id is None
                else agent.why_not_in_trace(self._trace_id)
            )
            if why:
                log.warn(why, f"{text} %s", name, why)
        try:
            yield
        except GeneratorExit:  # who reads a stream may stop: that is not an error of the app's
            with log.catch(text, name):
                end(None, None, None)
            raise
        except BaseException as error:
            with log.catch(text, name):
                end(type(error), error, error.__traceback__)
            raise
        with log.catch(text, name):
            end(None, None, None)

    def stash(
        self,
        message_id: MessageID | None = None,
        *,
        context: Context | None = None,
        content: str | None = None,
        replace: bool = False,
        rater: Rater = ...,
    ) -> str | None:
        """Keep a message for rating, as `FeedbackBlueprint.stash` does.

        It belongs to the rater of the captured request. `rater` says for whom it was made if that
        is somebody else, or if there was no request.
        """
        log = self.votes.log
        with log.catch("A message stashed by hand is not kept."):
            valid: Context = {}
            with log.catch("The context of a message stashed by hand is left out."):
                valid = self.valid(dict(context or {}))
            kept = self.keep(message_id, valid, content, rater, replace=replace)
            return kept[0] if kept else None
        return None

    def keep(
        self,
        message_id: MessageID | None,
        context: Context,
        content: object,
        rater: Rater = ...,
        *,
        replace: bool = False,
    ) -> tuple[str, Message] | None:
        """Keep a message, whose context must be valid, and return its ID and what was kept.

        `content` is the message's text, or the whole result: what is not a string is not kept.
        Returns `None`, with the reason in the log, if nothing was kept.
        """
        votes = self.votes
        if self._trace_id is None:
            text = "A message cannot be rated: it has no trace ID. %s"
            votes.log.warn(self._why_no_trace_id, text, self._why_no_trace_id)
        raters = self._raters if isinstance(rater, EllipsisType) else votes.raters.of(rater)
        if raters is None:
            text = (
                "A message cannot be rated: its rater is not known, and it would be anybody's. "
                "Outside of a request use stash(rater=...), or what capture() returned in the "
                "request."
            )
            votes.log.warn("owner", text)
        if self._trace_id is None or raters is None:
            votes.agent.count("StashesMissed")
            return None
        try:
            id_text = new_message_id() if message_id is None else message_id_text(message_id)
        except ValueError as error:
            # Only its first characters: it may be a user's text.
            votes.log.warn("ID", "Message ID %.40r cannot be used. %s", message_id, error)
            return None
        nonce = os.urandom(NONCE_BYTES) if replace else b""
        kept = self._content_to_keep(content)
        message = Message(self._trace_id, raters[0], context, kept, nonce)
        try:
            owners, ttl = raters if replace else (), votes.settings.ttl
            if not votes.breaker.stash(votes.keys.of(id_text), message, ttl, may_replace=owners):
                text = OWNED_BY_ANOTHER if replace else TAKEN
                votes.log.warn(text, text, id_text)
                return None
        except StoreUnavailable:  # the circuit breaker has logged it
            votes.agent.count("StashesMissed")
            return None
        if id_text not in self._message_ids:
            self._message_ids.append(id_text)
        return id_text, message

    def amend(self, message_id: str, message: Message) -> None:
        """Replace the context and text of a message that was kept before."""
        votes, content = self.votes, self._content_to_keep(message.content)
        with suppress(StoreUnavailable):  # the circuit breaker has logged it
            votes.breaker.amend(votes.keys.of(message_id), message._replace(content=content))

    def valid(self, context: Context) -> Context:
        """Return the entries that an event can carry, and log the others."""
        valid, problems = validate_entries(context)
        self.log_left_out(problems)
        return valid

    def log_left_out(self, problems: Mapping[str, str]) -> None:
        """Log what is left out of a context, and why."""
        if problems:
            self.votes.log.warn("context", "A context is kept without these entries: %s", problems)

    def _content_to_keep(self, content: object) -> str | None:
        if not self.votes.settings.store_message:
            return None
        with self.votes.log.catch("The text of a message is left out."):
            if isinstance(content, str):
                return content.encode(errors="replace").decode()
        return None


def _nothing(*_: object) -> None:
    """Do nothing: the agent began no transaction."""


def add_header(response: Response, message_ids: Sequence[str], log: ThrottledLog) -> None:
    """Put the IDs into headers, and only the last ones if they are too many for a client."""
    room = MAX_BYTES
    sent: list[str] = []
    for message_id in reversed(message_ids):
        if not (
            message_id.isascii()
            and message_id.isprintable()
            and message_id == message_id.strip()  # HTTP trims a header
            and "," not in message_id  # HTTP joins several headers with commas
        ):
            continue
        room -= len(f"{HEADER}: {message_id}\r\n")
        if room < 0 or len(sent) == MAX_IDS:
            break
        sent.append(message_id)
    for message_id in reversed(sent):
        response.headers.add(HEADER, message_id)
    if sent:
        response.headers.add("Access-Control-Expose-Headers", HEADER)
    if len(sent) < len(message_ids):
        text = (
            f"{HEADER} leaves out %d of the %d messages of a response: it takes the last {MAX_IDS} "
            f"IDs in printable ASCII without commas or outer blanks, in {MAX_BYTES} bytes. "
            "Put their IDs into the body."
        )
        log.warn("header", text, len(message_ids) - len(sent), len(message_ids))
