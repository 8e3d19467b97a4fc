"""Accepted is not yet delivered: what sees each vote through until New Relic has its event.

A vote that stands bears a mark in the store, and is in an outbox there. Only when New Relic has
accepted its event does the mark go. Whoever records the event has a lease of the vote, and renews
it with each harvest for as long as its agent should still hold the event. When the lease ends,
because the process died or its agent lost the event, any process of the app takes the vote over
and records it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .agent.base import Agent, Ended, Limits
from .agent.harvests import Harvest, Listener, tells_what_arrived
from .errors import AgentNotRecording, StoreUnavailable
from .logs import ThrottledLog
from .model import Backlog, Mark, Message, Undelivered
from .stores import Store

SHARE = 0.75
"""Of the events of one harvest those that votes may be, so that the app's own have room as well."""

SIZE_SHARE = 0.5
"""Of the bytes of one harvest those that votes may have: compressed, no text takes many more."""

GRACE = 2
"""Harvests after which an event that did not go was lost: it may just miss the first."""


WAIT = "Votes that were not delivered wait. %s"


@dataclass
class Held:
    """An event that the agent of this process holds; `since` is by `time.monotonic()`."""

    mark: Mark
    size: int
    has_ended: Ended
    is_copy: bool
    since: float = field(default_factory=time.monotonic)
    harvests: int = 0


class Outbox:
    """The votes of one New Relic application that are accepted and not yet delivered.

    `delivered` are marks that could not be taken off yet, `let_go` those of votes that this process
    took over and could not record.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.delivered: list[Mark] = []
        self.let_go: list[Mark] = []
        self._held: dict[tuple[object, object], Held] = {}
        self._size = 0

    def room(self, limits: Limits) -> int:
        """Return how many more votes may go with the next harvest."""
        if self._size >= limits.size * SIZE_SHARE:
            return 0
        return max(max(int(limits.events * SHARE), 1) - len(self._held), 0)

    def held(self) -> list[Mark]:
        """Return the marks of what the agent of this process should hold."""
        return [each.mark for each in list(self._held.values())]

    def hold(
        self, event: Mapping[str, Any], mark: Mark, has_ended: Ended, *, is_copy: bool
    ) -> None:
        """Note that the agent was given the event of a vote."""
        size = sum(len(f"{name}{value}".encode()) for name, value in event.items())
        self._size += size
        self._held[_identity(event)] = Held(mark, size, has_ended, is_copy)

    def arrived(self, feedback: Sequence[Mapping[str, Any]]) -> list[Held]:
        """Return those of ours that New Relic accepted, and hold them no more."""
        return self._drop([_identity(event) for event in feedback])

    def lost(self, harvest: Harvest) -> list[Held]:
        """Return those that the agent must have dropped, and hold them no more."""
        if not harvest.has_events:
            return []
        held = list(self._held.items())
        for _, each in held:
            each.harvests += each.since < harvest.began and each.has_ended()
        return self._drop([identity for identity, each in held if each.harvests >= GRACE])

    def _drop(self, identities: Sequence[tuple[object, object]]) -> list[Held]:
        found = [self._held.pop(identity, None) for identity in identities]
        self._size = sum(each.size for each in list(self._held.values()))  # threads may miscount
        return [each for each in found if each is not None]


class Delivery(Listener):
    """Sees the accepted votes of one blueprint in one app through.

    `event_of` makes the event of a vote on a message, given the most bytes of one value.
    """

    def __init__(
        self,
        store: Store,
        log: ThrottledLog,
        agent: Agent,
        prefix: str,
        event_of: Callable[[Undelivered, Message, int], dict[str, Any]],
    ) -> None:
        self._store = store
        self._log = log
        self._agent = agent
        self._prefix = prefix
        self._event_of = event_of
        self._outboxes: dict[str, Outbox] = {}

    def outbox(self, application: str) -> Outbox:
        """Return the outbox of a New Relic application: each delivers its own votes only."""
        if application not in self._outboxes:
            name = f"{self._prefix}{quote(application, safe='')}"
            self._outboxes.setdefault(application, Outbox(name))
        return self._outboxes[application]

    def backlog(self, application: str) -> Backlog:
        """Look at what is undelivered, of all processes; raises `StoreUnavailable`."""
        return self._store.backlog(self.outbox(application).name)

    def arrived(self, application: str, feedback: Sequence[Mapping[str, Any]]) -> None:
        """Take the marks of votes off that New Relic accepted; the agent calls this."""
        outbox = self.outbox(application)
        if arrived := outbox.arrived(feedback):
            outbox.delivered += [each.mark for each in arrived]
            self._unmark(outbox)
            self._agent.count("VotesDelivered", len(arrived))
            if copies := sum(each.is_copy for each in arrived):
                self._agent.count("VotesDeliveredAgain", copies)

    def harvested(self, harvest: Harvest) -> None:
        """Renew what the agent holds, and take over what nobody does; the agent calls this."""
        outbox = self.outbox(harvest.application)
        lost = [each.mark for each in outbox.lost(harvest)]
        if tells_what_arrived():
            outbox.let_go += lost
        else:
            outbox.delivered += lost
        self._unmark(outbox)
        if harvest.is_active and not harvest.is_last:
            try:
                self._take(outbox, self._agent.limits(harvest.application))
                if outbox.held():
                    self._measure(outbox)
            except AgentNotRecording as error:
                if outbox.held() or outbox.let_go:  # else each refused vote says so
                    self._log.warn("agent", WAIT, error)
            except StoreUnavailable as error:
                self._log.warn(error.remedy, WAIT, error)

    def _measure(self, outbox: Outbox) -> None:
        """Tell New Relic what is undelivered, of all processes."""
        votes, oldest = self._store.backlog(outbox.name)
        if oldest is not None:
            self._agent.measure("Undelivered", votes)
            self._agent.measure("OldestUndelivered", max(time.time() - oldest / 1000, 0))

    def _take(self, outbox: Outbox, limits: Limits) -> None:
        """Take over as many votes as the next harvest has room for, and record them."""
        let_go, room = outbox.let_go, outbox.room(limits)
        taken = self._store.take(
            outbox.name, limits.next_harvest, room, held=outbox.held(), let_go=let_go
        )
        outbox.let_go = []
        votes = [(each, each.message) for each in taken if each.message is not None]
        if votes:
            outbox.let_go = [undelivered.mark for undelivered, _ in votes]
            with self._agent.transaction("deliver", limits.application):
                self._agent.limits()  # a naming rule may ignore this transaction
                outbox.let_go = []
                for undelivered, message in votes:
                    self._record_again(outbox, undelivered, message, limits)
        if expired := [each.mark for each in taken if each.message is None]:
            text = "%d votes were never delivered: their messages expired before that."
            self._log.warn("expired", text, len(expired))
            self._agent.count("VotesExpired", len(expired))
            outbox.delivered += expired
            self._unmark(outbox)

    def _record_again(
        self, outbox: Outbox, undelivered: Undelivered, message: Message, limits: Limits
    ) -> None:
        if not outbox.room(limits):
            outbox.let_go.append(undelivered.mark)
            return
        with self._log.quietly("A vote cannot be recorded: it waits."):
            event = self._event_of(undelivered, message, limits.text)
            self.record(outbox, event, undelivered.mark, is_copy=True)

    def record(
        self, outbox: Outbox, event: dict[str, Any], mark: Mark, *, is_copy: bool = False
    ) -> None:
        """Hand an event to the agent, and hold it: if it is lost, it is recorded again."""
        has_ended: Ended = _yes
        with self._log.quietly("The agent failed: a vote will be recorded again."):
            has_ended = self._agent.record(event)
        outbox.hold(event, mark, has_ended, is_copy=is_copy)

    def _unmark(self, outbox: Outbox) -> None:
        """Take off the marks of what is delivered, now or with a later harvest.

        A part of the store that is out keeps no others waiting: they would grow in number.
        """
        delivered, outbox.delivered = outbox.delivered, []
        parts: dict[str, list[Mark]] = {}
        for mark in delivered:
            parts.setdefault(self._store.node_of(mark.key), []).append(mark)
        for marks in parts.values():
            try:
                self._store.unmark(marks)
            except StoreUnavailable as error:
                outbox.delivered += marks
                text = "Votes were delivered, and may be once more. %s"
                self._log.warn(error.remedy, text, error)


def _identity(event: Mapping[str, Any]) -> tuple[object, object]:
    """Return what no other vote has: a store that went back in time repeats revisions."""
    return event.get("feedback_id"), event.get("timestamp")


def _yes() -> bool:
    return True
