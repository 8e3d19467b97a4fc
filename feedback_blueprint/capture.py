"""Keeping a message: what a request knows, taken to wherever the message is made."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import EllipsisType
from typing import Any
from uuid import UUID

from .attributes import message_id_text, new_message_id, sort_out
from .errors import AgentNotRecording, StoreUnavailable
from .logs import Brief
from .stores import Message
from .votes import Votes

MessageID = str | int | UUID
Context = Mapping[str, Any]
Rater = str | None | EllipsisType
"""For whom a message is made; `...` is whoever asks for it."""


class Capture:
    """What a request knows that other threads do not: the app, the trace ID and the rater.

    Made by `FeedbackBlueprint.capture()`. Its `stash` works anywhere.
    """

    def __init__(self, votes: Votes, owner: bytes | None, announced: list[str]) -> None:
        self.votes = votes
        self._owner = owner
        self._announced = announced
        self._trace_id: str | None = None
        self._why_blind = "The agent failed."
        with votes.complaints.quietly("The agent failed: a message made here cannot be rated."):
            self._trace_id = votes.agent.trace_id()
            if self._trace_id is None:
                try:
                    votes.agent.limits()
                    self._why_blind = "A header of the client's names one that no event can carry."
                except AgentNotRecording as error:
                    self._why_blind = str(error)

    def stash(
        self,
        message_id: MessageID | None = None,
        *,
        context: Context | None = None,
        content: str | None = None,
        rater: Rater = ...,
    ) -> str | None:
        """Keep a message for rating, as `FeedbackBlueprint.stash` does.

        It belongs to the rater of the request that was captured. Where there was none, or it was
        made for somebody else, `rater` says for whom.
        """
        complaints = self.votes.complaints
        with complaints.quietly("A message stashed by hand is not kept."):
            valid: Context = {}
            with complaints.quietly("The context of a message stashed by hand is left out."):
                valid = self.valid(dict(context or {}))
            kept = self.keep(message_id, valid, content, rater)
            return kept[0] if kept else None
        return None

    def keep(
        self,
        message_id: MessageID | None,
        context: Context,
        content: str | None,
        rater: Rater = ...,
    ) -> tuple[str, Message] | None:
        """Keep a message, whose context is valid, and return its ID and what was kept.

        `None`, with a reason in the log, where nothing was.
        """
        votes = self.votes
        if self._trace_id is None:
            text = "A message cannot be rated: it has no trace ID. %s"
            votes.complaints.warn(self._why_blind, text, self._why_blind)
        owner = self._owner if isinstance(rater, EllipsisType) else votes.raters.of(rater)[0]
        if owner is None:
            text = (
                "A message cannot be rated: nobody says for whom it was made, and it would be "
                "anybody's. Outside of a request use stash(rater=...), or what capture() returned "
                "in the request."
            )
            votes.complaints.warn("owner", text)
        if self._trace_id is None or owner is None:
            votes.agent.count("StashesMissed")
            return None
        try:
            key = new_message_id() if message_id is None else message_id_text(message_id)
        except ValueError as error:
            votes.complaints.warn(
                "ID", "Message ID %r cannot be used. %s", Brief(message_id), error
            )
            return None
        message = Message(self._trace_id, owner, context, self._content_to_keep(content))
        try:
            if not votes.stash(key, message):
                text = "Message %r was stashed before and stays what it was: use each ID once."
                votes.complaints.warn("taken ID", text, key)
                return None
        except StoreUnavailable:  # the store's guard has said so
            votes.agent.count("StashesMissed")
            return None
        if key not in self._announced:
            self._announced.append(key)
        return key, message

    def amend(self, key: str, message: Message) -> None:
        """Keep more of a message that was kept before."""
        content = self._content_to_keep(message.content)
        with suppress(StoreUnavailable):  # the store's guard has said so
            self.votes.amend(key, message._replace(content=content))

    def valid(self, context: Context) -> Context:
        """Return the entries that an event can carry, and say in the log what is left out."""
        valid, problems = sort_out(context)
        self.leave_out(problems)
        return valid

    def leave_out(self, problems: Mapping[str, str]) -> None:
        """Say in the log what is left out of a context, and why."""
        if problems:
            self.votes.complaints.warn("context", "Of a context is left out: %s", problems)

    def _content_to_keep(self, content: object) -> str | None:
        if not self.votes.settings.store_message:
            return None
        with self.votes.complaints.quietly("The text of a message is left out."):
            if isinstance(content, str):
                return content.encode(errors="replace").decode()
        return None
