"""The rules: who may vote on what, what a revision is, and what goes on the event."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from flask import current_app
from marshmallow import ValidationError

from .agent.agent import Agent, Limits, NewRelic
from .agent.harvests import Harvest
from .attributes import MAX_TEXT, message_id_text
from .checks import Finding
from .config import Settings
from .delivery import Delivery
from .errors import (
    AgentNotRecording,
    Invalid,
    StoreUnavailable,
    TooManyRevisions,
    UnknownMessage,
)
from .events import FEEDBACK_ID_SIZE, check_nothing_is_cut, event_of, feedback_id
from .logs import ThrottledLog
from .model import (
    RETRACTED,
    Backlog,
    Message,
    Receipt,
    StoredMessage,
    StoredVote,
    Undelivered,
    Vote,
    VoteRequest,
)
from .raters import Raters
from .schemas import feedback_schema
from .signals import feedback_recorded
from .stores import FASTER, CircuitBreaker, Store, is_slow

MARK = "!outbox:"
"""Before the name of an outbox: no key of a message begins so, as `quote()` leaves no `!`."""


LATE = 300.0
"""Seconds after which a vote should have been delivered: a dead process's is in two minutes."""


KEYS = "!keys:"
"""Before the name of what keeps fingerprints of the keys."""


class Votes:
    """What one app holds for one blueprint: settings, store, agent, and the rules over them.

    `raters` are the caller's hashes, the current one first: see `Store`. `chosen_by` says what
    chose the store, for an operator.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        namespace: str,
        raters: Raters,
        chosen_by: str,
    ) -> None:
        self.settings = settings
        self._chosen_by = chosen_by
        self.raters = raters
        self.agent: Agent = NewRelic()
        self.log: ThrottledLog = ThrottledLog()
        self._store = store
        self._breaker = CircuitBreaker(
            store,
            self.log,
            settings.store_timeout,
            lambda seconds: self.agent.measure("StoreSeconds", seconds),
        )
        self._namespace = f"{quote(namespace, safe='')}:" if namespace else ""
        self._schema = feedback_schema(settings.ratings, settings.categories)
        outboxes = f"{settings.key_prefix}{MARK}{self._namespace}"
        self._delivery = Delivery(store, self.log, self.agent, outboxes, self._event_again)
        self._is_announced = not raters.fingerprints
        self.agent.listen(self)

    def stash(self, message_id: str, message: Message, may_replace: Sequence[bytes] = ()) -> bool:
        """Keep a message; `False` where another one, of none of these raters, has the ID."""
        key = self._key(message_id)
        return self._breaker.stash(key, message, self.settings.ttl, may_replace=may_replace)

    def amend(self, message_id: str, message: Message) -> None:
        """Replace what was kept of a message, if no other has taken its place."""
        self._breaker.amend(self._key(message_id), message)

    def submit(self, fields: Mapping[str, Any], raters: Sequence[bytes]) -> Receipt:
        """Take one vote: `fields` is the body of `POST /feedback`."""
        try:
            loaded: Any = self._schema.load(fields)
        except ValidationError as error:
            raise Invalid(error.messages_dict) from error
        message_id = loaded.pop("message_id")
        return self._take(message_id, Vote(**loaded), raters)

    def retract(self, message_id: object, raters: Sequence[bytes]) -> Receipt:
        """Take a vote back, which is always possible; raises `UnknownMessage` without one."""
        try:
            key = message_id_text(message_id)
        except ValueError:
            raise self._unknown() from None
        receipt = self._take(key, None, raters)
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
        keys = [self._key(each) for each in message_ids]
        return self._breaker.read(keys, raters, self.settings.vote_ttl)

    def show(self, message_id: str) -> StoredMessage | None:
        """Return all that is kept of a message, for an operator."""
        return self._store.show(self._key(message_id))

    def kept(self, rater: str, progress: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        """Yield all that is kept of a rater, as JSON has it, by message.

        `progress` is told how many more messages were looked at. A text is there if the message was
        made for the rater. Raises `StoreUnavailable`, and `ConfigurationError` without a rater.
        """
        for kept in self._kept(self.raters.of(rater), progress):
            votes = [
                {
                    "feedback_id": identity,
                    "revision": vote.revision,
                    **_said(vote.vote),
                    "cast_at": _time(vote.cast_at / 1000),
                    "delivered": not vote.is_undelivered,
                }
                for identity, vote in zip(self._feedback_ids(kept), kept.votes, strict=True)
            ]
            yield {
                "message_id": self._message_id(kept.key),
                "trace_id": kept.message.trace_id,
                "context": dict(kept.message.context),
                "content": kept.message.content,
                "kept_until": _time(kept.expires_at),
                "votes": votes,
            }

    def forget(
        self, rater: str | None, message_id: str | None, progress: Callable[[int], None]
    ) -> Iterator[dict[str, Any]]:
        """Remove what is kept of a rater, or of one message, or of one rater on one message.

        Yields the IDs by which New Relic knows what was removed, and raises as `kept` does.
        """
        raters = None if rater is None else self.raters.of(rater)
        keys = iter([self._key(message_id)] if message_id is not None else [])
        if raters and message_id is None:
            keys = (kept.key for kept in self._kept(raters, progress))
        outboxes = f"{self.settings.key_prefix}{MARK}{self._namespace}"
        for removed in self._store.forget(keys, raters, outboxes):
            for kept in removed:
                yield {
                    "message_id": self._message_id(kept.key),
                    "trace_id": kept.message.trace_id,
                    "feedback_ids": self._feedback_ids(kept),
                }

    def _kept(
        self, raters: Sequence[bytes], progress: Callable[[int], None]
    ) -> Iterator[StoredMessage]:
        prefix = self.settings.key_prefix + self._namespace
        for looked_at, found in self._store.export(prefix, self._is_ours, raters):
            progress(looked_at)
            yield from found

    def _feedback_ids(self, kept: StoredMessage) -> list[str]:
        message_id = self._message_id(kept.key)
        return [feedback_id(message_id, kept.message, vote.voter) for vote in kept.votes]

    def backlog(self) -> Backlog | None:
        """Return what is undelivered of this process's New Relic application, if it has one.

        Raises `StoreUnavailable`.
        """
        application = self.agent.application()
        return None if application is None else self._delivery.backlog(application)

    def arrived(self, application: str, feedback: Sequence[Mapping[str, Any]]) -> None:
        """Leave it to the delivery."""

    def harvested(self, _: Harvest) -> None:
        """Let go of what has expired, and announce this process's `SECRET_KEY`, once.

        The agent calls this. A worker with a key of its own takes other workers' messages for
        nobody's: it complains of others.
        """
        with suppress(StoreUnavailable):  # the delivery says so
            self._store.clean_up()
            if self._is_announced:
                return
            for finding in self.raters.inspect(self._announce()):
                if not finding.ok:
                    self.log.warn("key", "SECRET_KEY: %s. %s", finding.seen, finding.remedy)
            self._is_announced = True

    def _announce(self) -> list[bytes]:
        fingerprints = self.raters.fingerprints
        key = f"{self.settings.key_prefix}{KEYS}{self._namespace}"
        return self._store.announce(key, fingerprints[0]) if fingerprints else []

    def inspect(self, *, full: bool = False) -> list[Finding]:
        """Look at the agent and the store, and make a round trip with a throw-away message.

        In a second or so, however many messages there are, unless it is to be `full`.
        """
        prefix = self.settings.key_prefix + self._namespace
        looks: list[Callable[[], list[Finding]]] = [
            self._round_trip,
            lambda: self._store.check(prefix, full=full),
            lambda: self.raters.inspect(self._announce()),
            self._undelivered,
        ]
        findings = self.agent.inspect()
        findings.append(Finding("kept in", True, f"{self._store.location()}, by {self._chosen_by}"))
        for look in looks:
            try:
                findings += look()
            except StoreUnavailable as error:
                finding = Finding("store", False, error.why, error.remedy)
                if finding not in findings:
                    findings.append(finding)
                if error.unreachable:
                    break
        return findings

    def _round_trip(self) -> list[Finding]:
        key, rater = self._key(f"check {uuid4().hex}"), os.urandom(16)
        start = time.perf_counter()
        ttl = timedelta(seconds=10)
        self._store.stash(key, Message("0" * 32, rater), ttl)
        try:
            vote_request = VoteRequest(b"[0]", 1, f"{self.settings.key_prefix}!check", 10, ttl)
            result = self._store.vote(key, [rater], vote_request)
            self._store.unmark([result.mark] if result.mark else [])
            took = time.perf_counter() - start
            self._store.read([key], [rater])  # once it is connected, and knows our scripts
            trip = time.perf_counter() - start - took
        finally:
            with suppress(StoreUnavailable):
                self._store.remove(key)
        ok = result.status == "accepted" and not is_slow(trip, self.settings.store_timeout)
        seen = f"a message and a vote in {took * 1000:.1f} ms, a read in {trip * 1000:.1f} ms"
        return [Finding("store", ok, seen, FASTER)]

    def _undelivered(self) -> list[Finding]:
        """Look at what is undelivered, also if New Relic does not answer."""
        name = self.agent.name()
        if name is None:
            return []
        backlog = self._delivery.backlog(name)
        if backlog.oldest is None:
            return [Finding("undelivered votes", True, "none")]
        age = time.time() - backlog.oldest / 1000
        remedy = (
            "Check the agent's log, and run flask feedback deliver if no process of the app runs."
        )
        seen = f"{backlog.votes}, the oldest for {age:.0f} s"
        return [Finding("undelivered votes", age < LATE, seen, remedy)]

    def _take(self, message_id: str, vote: Vote | None, raters: Sequence[bytes]) -> Receipt:
        """Take a vote or a retraction; count it where it is no fault of the caller's."""
        with self.agent.transaction("vote"):
            try:
                limits = self.agent.limits()
                if limits.text < MAX_TEXT:
                    self._check_nothing_is_cut(message_id, vote, raters, limits.text)
                return self._cast(message_id, vote, raters, limits)
            except (AgentNotRecording, StoreUnavailable) as error:
                self.agent.count("VotesRefused")
                if isinstance(error, AgentNotRecording):
                    self.log.warn(str(error), "Feedback cannot be recorded. %s", error)
                raise

    def _unknown(self) -> UnknownMessage:
        """Count a vote that is on no message, and return its refusal: the log would fill up."""
        self.agent.count("VotesUnknown")
        return UnknownMessage()

    def _check_nothing_is_cut(
        self, message_id: str, vote: Vote | None, raters: Sequence[bytes], limit: int
    ) -> None:
        """Make the event before the vote, for an agent that is set below its default."""
        [stored] = self._read([message_id], raters)
        if stored is None:
            raise self._unknown()
        receipt = Receipt(message_id, "", stored.revision + 1, "accepted")
        at_least = max(limit, FEEDBACK_ID_SIZE)
        ratings = self.settings.ratings
        event = event_of(receipt, vote, stored.message, 0, ratings, at_least)
        check_nothing_is_cut(event, limit)

    def _cast(
        self, message_id: str, vote: Vote | None, raters: Sequence[bytes], limits: Limits
    ) -> Receipt:
        """Let the vote stand, marked, and record its event: from the mark on it is accepted."""
        outbox = self._delivery.outbox(limits.application) if limits.application else None
        records_now = outbox is None or outbox.room(limits) > 0
        vote_request = VoteRequest(
            vote.pack() if vote else RETRACTED,
            self.settings.max_revisions,
            outbox.name if outbox else None,
            limits.next_harvest if records_now else 0,
            self.settings.vote_ttl,
        )
        result = self._breaker.vote(self._key(message_id), raters, vote_request)
        message, revision = result.message, result.revision
        if message is None:
            raise self._unknown()
        if result.status == "too-many":
            raise TooManyRevisions(self.settings.max_revisions)
        identity = feedback_id(message_id, message, result.voter)
        if result.status == "unchanged":
            return Receipt(message_id, identity, revision, "unchanged")
        receipt = Receipt(message_id, identity, revision, "accepted" if vote else "retracted")
        ratings = self.settings.ratings
        event = event_of(receipt, vote, message, result.cast_at, ratings, limits.text)
        if outbox is None or result.mark is None:
            self.agent.record(event)
        elif records_now:
            self._delivery.record(outbox, event, result.mark)
        self.agent.count("VotesAccepted")
        feedback_recorded.send(
            current_app._get_current_object(),  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # Flask documents it, its types do not
            message_id=message_id,
            trace_id=message.trace_id,
            attributes=event,
        )
        return receipt

    def _event_again(
        self, undelivered: Undelivered, message: Message, limit: int
    ) -> dict[str, Any]:
        """Make the event of a vote that was taken over: the same as before."""
        mark, _, revision, packed = undelivered
        message_id, vote = self._message_id(mark.key), Vote.unpack(packed)
        identity = feedback_id(message_id, message, mark.voter)
        receipt = Receipt(message_id, identity, revision, "accepted" if vote else "retracted")
        return event_of(receipt, vote, message, mark.cast_at, self.settings.ratings, limit)

    def _message_id(self, key: str) -> str:
        """Return the message ID that is kept under a key."""
        message_id = key.removeprefix(self.settings.key_prefix + self._namespace)
        return message_id if self._namespace else message_id.removeprefix(":")

    def _is_ours(self, key: str) -> bool:
        """Whether this blueprint keeps a message under a key that begins with its prefix."""
        rest = key.removeprefix(self.settings.key_prefix)
        return bool(self._namespace) or rest.startswith(":") or ":" not in rest

    def _key(self, message_id: str) -> str:
        """Return under what a message is kept.

        What comes before a colon is a blueprint's name, unless that is empty: an ID with a colon
        must not pass for a message of another blueprint.
        """
        namespace = self._namespace or (":" if ":" in message_id else "")
        return self.settings.key_prefix + namespace + message_id


def _said(packed: bytes) -> dict[str, Any]:
    """Return what a vote says, as it was sent, or that it was taken back."""
    vote = Vote.unpack(packed)
    return {"retracted": vote is None, **(vote or Vote("retracted"))._asdict()}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
