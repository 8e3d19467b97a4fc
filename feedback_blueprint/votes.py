"""The rules: who may vote on which message, what a revision is, and when a vote is accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, current_app
from flask.sansio.app import App

from .agent.new_relic import AgentLimits, NewRelic
from .attributes import MAX_VALUE_BYTES, message_id_text
from .config import Settings
from .delivery import Delivery
from .errors import (
    AgentNotRecording,
    StoreUnavailable,
    TooManyRevisions,
    UnknownMessage,
)
from .events import FEEDBACK_ID_BYTES, check_nothing_is_cut, event_of, feedback_id
from .logs import ThrottledLog
from .model import RETRACTED, Keys, Message, Receipt, StoredVote, Undelivered, Vote, VoteRequest
from .raters import Raters
from .schemas import feedback_schema, load
from .signals import feedback_recorded
from .stores import CircuitBreaker, Store
from .upkeep import Upkeep

EXTENSION = "feedback_blueprint"
"""The key of `app.extensions`: the app keeps the `Votes` of each blueprint there."""


class Votes:
    """What one app holds for one blueprint: its settings, store and agent, and the rules for votes.

    `blueprint` is the blueprint's name, or empty for the default one. `chosen_by` tells an operator
    what chose the store.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        store: Store,
        blueprint: str,
        raters: Raters,
        chosen_by: str,
    ) -> None:
        self._app = app
        self.settings = settings
        self.store = store
        self.chosen_by = chosen_by
        self.keys = Keys(settings.key_prefix, blueprint)
        self.raters = raters
        self.agent = NewRelic()
        self.log = ThrottledLog()
        self.breaker = CircuitBreaker(
            store,
            self.log,
            settings.store_timeout,
            lambda seconds: self.agent.measure("StoreSeconds", seconds),  # testing.py changes it
        )
        self._schema = feedback_schema(settings.ratings, settings.categories)
        self.delivery = Delivery(store, self.log, self.agent, self.keys.outboxes, self._event_again)
        self.upkeep = Upkeep(store, self.keys, raters, self.log)
        self.agent.listen(self.delivery)
        self.agent.listen(self.upkeep)

    def submit(self, fields: Mapping[str, Any], raters: Sequence[bytes]) -> Receipt:
        """Take one vote: `fields` is the body of `POST /feedback`, `raters` the caller's hashes.

        Raises a `Refusal` if the vote is not taken.
        """
        loaded = load(self._schema, fields)
        message_id = loaded.pop("message_id")
        return self._take(message_id, Vote(**loaded), raters)

    def retract(self, message_id: object, raters: Sequence[bytes]) -> Receipt:
        """Take a vote back, whatever the limit of revisions is.

        Raises `UnknownMessage` if there is no vote, or another `Refusal`.
        """
        try:
            id_text = message_id_text(message_id)
        except ValueError:
            raise self._unknown_message() from None
        receipt = self._take(id_text, None, raters)
        if receipt.status == "unchanged":
            raise UnknownMessage("There is no vote of yours on this message to take back.")
        return receipt

    def read(self, message_ids: Sequence[str], raters: Sequence[bytes]) -> dict[str, Any]:
        """Return the caller's standing votes, and which of the messages the caller can rate."""
        feedback, rateable = [], []
        stored_votes = self._read(message_ids, raters)
        for message_id, stored in zip(message_ids, stored_votes, strict=True):
            if stored is None:
                continue
            rateable.append(message_id)
            if (vote := Vote.unpack(stored.vote)) is None:
                continue
            feedback.append(
                {
                    "message_id": message_id,
                    "feedback_id": feedback_id(message_id, stored.message, stored.voter),
                    "revision": stored.revision,
                    "rating": vote.rating,
                    "category": vote.category,
                    "message": vote.message,
                }
            )
        return {"feedback": feedback, "rateable": rateable}

    def _read(self, message_ids: Sequence[str], raters: Sequence[bytes]) -> list[StoredVote | None]:
        keys = [self.keys.of(each) for each in message_ids]
        return self.breaker.read(keys, raters, self.settings.vote_ttl)

    def _take(self, message_id: str, vote: Vote | None, raters: Sequence[bytes]) -> Receipt:
        """Take a vote, or a retraction if `vote` is `None`. A 503 is counted."""
        with self.agent.transaction("vote"):
            try:
                limits = self.agent.limits()
                if limits.value_bytes < MAX_VALUE_BYTES:
                    self._check_nothing_is_cut(message_id, vote, raters, limits.value_bytes)
                return self._cast(message_id, vote, raters, limits)
            except (AgentNotRecording, StoreUnavailable) as error:
                self.agent.count("VotesRefused")
                if isinstance(error, AgentNotRecording):
                    self.log.warn(str(error), "Feedback cannot be recorded. %s", error)
                raise

    def _unknown_message(self) -> UnknownMessage:
        """Count a vote on an unknown message, and return the refusal.

        It is not logged: guesses would fill the log.
        """
        self.agent.count("VotesUnknown")
        return UnknownMessage()

    def _check_nothing_is_cut(
        self, message_id: str, vote: Vote | None, raters: Sequence[bytes], limit: int
    ) -> None:
        """Refuse a vote that the agent would cut: `max_attribute_value` is below its default."""
        [stored] = self._read([message_id], raters)
        if stored is None:
            raise self._unknown_message()
        receipt = Receipt(message_id, "", stored.revision + 1, "accepted")
        self._uncut_event(receipt, vote, stored.message, 0, limit)

    def _cast(
        self, message_id: str, vote: Vote | None, raters: Sequence[bytes], limits: AgentLimits
    ) -> Receipt:
        """Keep the vote with a mark, and record its event. From the mark on, it is accepted."""
        outbox = self.delivery.outbox(limits.application) if limits.application else None
        records_now = outbox is None or outbox.room(limits) > 0
        vote_request = VoteRequest(
            vote.pack() if vote else RETRACTED,
            self.settings.max_revisions,
            outbox.name if outbox else None,
            limits.next_harvest if records_now else 0,
            self.settings.vote_ttl,
        )
        result = self.breaker.vote(self.keys.of(message_id), raters, vote_request)
        message, revision = result.message, result.revision
        if message is None:
            raise self._unknown_message()
        if result.status == "too-many":
            raise TooManyRevisions(self.settings.max_revisions)
        identity = feedback_id(message_id, message, result.voter)
        if result.status == "unchanged":
            return Receipt(message_id, identity, revision, "unchanged")
        receipt = Receipt(message_id, identity, revision, "accepted" if vote else "retracted")
        ratings = self.settings.ratings
        event = event_of(receipt, vote, message, result.cast_at, ratings, limits.value_bytes)
        if outbox is None or result.mark is None:
            self.agent.record(event)
        elif records_now:
            self.delivery.record_and_hold(outbox, event, result.mark)
        self.agent.count("VotesAccepted")
        feedback_recorded.send(
            self._app,
            message_id=message_id,
            trace_id=message.trace_id,
            attributes=event,
        )
        return receipt

    def _event_again(
        self, undelivered: Undelivered, message: Message, limit: int
    ) -> dict[str, Any]:
        """Make the event of a vote that this process took over: it is the same as before.

        Raises `AgentNotRecording` if this agent would cut it: the vote may come from another.
        """
        mark, _, revision, packed = undelivered
        message_id, vote = self.keys.message_id(mark.key), Vote.unpack(packed)
        identity = feedback_id(message_id, message, mark.voter)
        receipt = Receipt(message_id, identity, revision, "accepted" if vote else "retracted")
        return self._uncut_event(receipt, vote, message, mark.cast_at, limit)

    def _uncut_event(
        self, receipt: Receipt, vote: Vote | None, message: Message, cast_at: int, limit: int
    ) -> dict[str, Any]:
        """Make an event; raises `AgentNotRecording` if the agent would cut it to `limit` bytes."""
        at_least = max(limit, FEEDBACK_ID_BYTES)  # to split a text takes 4, and less is refused
        event = event_of(receipt, vote, message, cast_at, self.settings.ratings, at_least)
        check_nothing_is_cut(event, limit)
        return event


def votes_of(blueprint: Blueprint | str) -> Votes:
    """Return what the current app holds for a blueprint, given the blueprint or its name there.

    Raises `RuntimeError` with the remedy if there is no current app, or it lacks the blueprint.
    """
    try:
        found = current_app.blueprints[blueprint] if isinstance(blueprint, str) else blueprint
        votes: Votes = current_app.extensions[EXTENSION][found]
    except KeyError:
        name = blueprint if isinstance(blueprint, str) else blueprint.name
        raise RuntimeError(
            f"The blueprint {name!r} is not registered on this app. "
            "Did you forget to call app.register_blueprint()?"
        ) from None
    except RuntimeError as error:
        raise RuntimeError(
            "No app is known here. Use it in app.app_context(), or in a thread or a task what "
            "capture() returned in the request."
        ) from error
    return votes
