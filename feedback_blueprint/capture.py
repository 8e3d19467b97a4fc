"""Keeping a message: what a request knows, taken to wherever the message is made."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from .attributes import MAX_ENTRIES, attribute_problem, message_id_text, new_message_id
from .errors import AgentNotRecording, StoreUnavailable
from .stores import Message
from .votes import Votes

MessageID = str | int | UUID
Context = Mapping[str, Any]


class Capture:
    """What a request knows that other threads do not: the app, the trace ID and the rater.

    Made by `FeedbackBlueprint.capture()`. Its `stash` works anywhere.
    """

    def __init__(self, votes: Votes, owner: bytes | None, announced: list[str]) -> None:
        self.votes = votes
        self._owner = owner
        self._announced = announced
        self._trace_id = votes.agent.trace_id()
        self._why_blind = ""
        if self._trace_id is None:
            try:
                votes.agent.check()
            except AgentNotRecording as error:
                self._why_blind = str(error)

    def stash(
        self,
        message_id: MessageID | None = None,
        *,
        context: Context | None = None,
        content: str | None = None,
    ) -> str | None:
        """Keep a message for rating, as `FeedbackBlueprint.stash` does."""
        with self.votes.complaints.quietly("A message stashed by hand is not kept."):
            kept = self.keep(message_id, context or {}, content)
            return kept[0] if kept else None
        return None

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
            key = new_message_id() if message_id is None else message_id_text(message_id)
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
        if key not in self._announced:
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
        left_out: dict[object, str] = {}
        for name, value in context.items():
            if problem := attribute_problem(name, value):
                left_out[name] = problem
            elif len(valid) == MAX_ENTRIES:
                left_out[name] = f"Over {MAX_ENTRIES} entries."
            else:
                valid[name] = value
        if left_out:
            self.votes.complaints.warn("context", "Of a context is left out: %s", left_out)
        return valid

    def _content_to_keep(self, content: object) -> str | None:
        if not self.votes.settings.store_message or not isinstance(content, str):
            return None
        return content.encode(errors="replace").decode()
