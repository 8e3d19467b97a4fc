"""The rules: who may vote on what, what a revision is, and what goes on the event."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from flask import current_app
from marshmallow import ValidationError

from .attributes import message_id_text
from .config import Settings
from .errors import (
    AgentNotRecording,
    Invalid,
    StoreUnavailable,
    TooManyRevisions,
    UnknownMessage,
)
from .events import Receipt, Vote, event_of, feedback_id, refuse_what_would_be_cut
from .findings import Finding
from .logs import Complaints
from .raters import Raters
from .schemas import feedback_schema
from .signals import feedback_recorded
from .stores import (
    MOMENT,
    RETRACTED,
    Ballot,
    Confirmation,
    Guard,
    Message,
    Outcome,
    Shown,
    Store,
    send_soon,
)
from .telemetry import Agent, NewRelic

POLL = 0.01
"""Seconds between two looks at a vote that another attempt has under way."""


class Votes:
    """What one app holds for one blueprint: settings, store, agent, and the rules over them.

    `raters` are the caller's hashes, the current one first: see `Message.voter`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        namespace: str,
        raters: Raters,
    ) -> None:
        self.settings = settings
        self.raters = raters
        self.agent: Agent = NewRelic()
        self.complaints: Complaints = Complaints()
        self._store = store
        self._guard = Guard(store, self.complaints)
        # Seconds after which an attempt that is not confirmed was lost on the way.
        self._patience = 2 * (settings.store_timeout + MOMENT)
        self._namespace = f"{quote(namespace, safe='')}:" if namespace else ""
        self._schema = feedback_schema(settings.ratings, settings.categories)

    def stash(self, message_id: str, message: Message) -> bool:
        """Keep a message; `False` where another one has the ID already."""
        return self._guard.stash(self._key(message_id), message, self.settings.ttl)

    def amend(self, message_id: str, message: Message) -> None:
        """Replace what was kept of a message."""
        self._guard.amend(self._key(message_id), message)

    def record(self, fields: Mapping[str, Any], raters: Sequence[bytes]) -> Receipt:
        """Take one vote: `fields` is the body of `POST /feedback`."""
        try:
            loaded: Any = self._schema.load(fields)
        except ValidationError as error:
            raise Invalid(error.messages_dict) from error
        message_id = loaded.pop("message_id")
        return self._take(message_id, Vote(**loaded), raters)

    def retract(self, message_id: object, raters: Sequence[bytes]) -> Receipt:
        """Take a vote back. Without one, the message is as good as unknown."""
        try:
            key = message_id_text(message_id)
        except ValueError:
            raise UnknownMessage from None
        receipt = self._take(key, None, raters)
        if receipt.status == "unchanged":
            raise UnknownMessage
        return receipt

    def read(self, message_ids: Sequence[str], raters: Sequence[bytes]) -> dict[str, Any]:
        """Return the caller's standing votes, and which of the messages the caller can rate."""
        feedback, rateable = [], []
        keys = [self._key(message_id) for message_id in message_ids]
        lost_by = time.monotonic() + self._patience
        standings = self._guard.read(keys, raters)
        while any(standing and standing.pending for standing in standings):
            if time.monotonic() > lost_by:
                break
            time.sleep(POLL)  # nothing tells when it is confirmed
            standings = self._guard.read(keys, raters)
        for message_id, standing in zip(message_ids, standings, strict=True):
            if standing is None:
                continue
            rateable.append(message_id)
            vote = Vote.unpack(standing.vote)
            if standing.pending or vote is None:
                continue
            feedback.append(
                {
                    "message_id": message_id,
                    "feedback_id": feedback_id(message_id, standing.message, raters),
                    "revision": standing.revision,
                    "rating": vote.rating,
                    "category": vote.category,
                    "message": vote.message,
                }
            )
        return {"feedback": feedback, "rateable": rateable}

    def show(self, message_id: str) -> Shown | None:
        """Return all that is kept of a message, for an operator."""
        return self._store.show(self._key(message_id))

    def inspect(self) -> list[Finding]:
        """Look at the agent and the store, and make a round trip with a throw-away message."""
        findings = [*self.agent.inspect(), *self.raters.inspect()]
        key, rater = self._key(f"check {uuid4().hex}"), os.urandom(16)
        start = time.perf_counter()
        try:
            self._store.stash(key, Message("0" * 32, rater), timedelta(seconds=10))
            outcome = self._store.vote(key, [rater], Ballot(b"[0]", os.urandom(8), 1))
            took = (time.perf_counter() - start) * 1000
            ok = outcome.status == "accepted"
            findings.append(Finding("store", ok, f"a message and a vote in {took:.1f} ms"))
            findings += self._store.inspect()
        except StoreUnavailable as error:
            findings.append(Finding("store", False, error.why, error.remedy))
        return findings

    def _take(self, message_id: str, vote: Vote | None, raters: Sequence[bytes]) -> Receipt:
        """Take a vote or a retraction; count it where it is no fault of the caller's."""
        try:
            packed = vote.pack() if vote else RETRACTED
            limit = self.agent.check(len(packed))
            if vote:
                refuse_what_would_be_cut(message_id, vote, limit)
            return self._cast(message_id, vote, packed, raters, limit)
        except (AgentNotRecording, StoreUnavailable) as error:
            self.agent.count("VotesRefused")
            if isinstance(error, AgentNotRecording):
                self.complaints.warn("agent", "Feedback cannot be recorded. %s", error)
            raise

    def _cast(
        self,
        message_id: str,
        vote: Vote | None,
        packed: bytes,
        raters: Sequence[bytes],
        limit: int,
    ) -> Receipt:
        """Let the vote stand, record its event, and only then call it recorded."""
        key, attempt = self._key(message_id), os.urandom(8)
        ballot = Ballot(packed, attempt, self.settings.max_revisions)
        outcome = self._stand(key, raters, ballot)
        message, revision = outcome.message, outcome.revision
        if outcome.status == "unknown" or message is None:
            raise UnknownMessage
        if outcome.status == "too-many":
            raise TooManyRevisions(self.settings.max_revisions)
        identity = feedback_id(message_id, message, raters)
        if outcome.status == "unchanged":
            return Receipt(message_id, identity, revision, "unchanged")
        receipt = Receipt(message_id, identity, revision, "accepted" if vote else "retracted")
        event = event_of(receipt, vote, message, self.settings.ratings, limit)
        self.agent.record(event)
        voter = message.voter(raters) or b""
        send_soon(self._store.confirm, Confirmation(key, voter, attempt))
        feedback_recorded.send(
            current_app._get_current_object(),  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # Flask documents it, its types do not
            message_id=message_id,
            trace_id=message.trace_id,
            attributes=event,
        )
        return receipt

    def _stand(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Ask the store once; again only while another attempt has the same vote under way.

        An attempt that was lost on the way, and its event with it, has told its caller so, or died.
        This attempt then takes its place.
        """
        lost_by, awaited = 0.0, b""
        while True:
            outcome = self._guard.vote(key, raters, ballot)
            if outcome.status != "pending":
                return outcome
            if outcome.attempt != awaited:  # another has taken it over, and has its own time
                awaited = outcome.attempt
                lost_by = time.monotonic() + self._patience
            if time.monotonic() > lost_by:
                ballot = ballot._replace(instead_of=outcome.attempt)
            time.sleep(POLL)  # nothing tells when it is confirmed

    def _key(self, message_id: str) -> str:
        """Return under what a message is kept.

        What comes before a colon is a blueprint's name, unless that is empty: an ID with a colon
        must not pass for a message of another blueprint.
        """
        namespace = self._namespace or (":" if ":" in message_id else "")
        return self.settings.key_prefix + namespace + message_id
