"""From accepted to delivered: each vote is followed until New Relic has its event.

An accepted vote has a mark in the store, and is in an outbox there. The mark goes only when New
Relic has accepted the event. The process that records the event has a lease of the vote, and renews
it with each harvest as long as its agent should hold the event. The lease ends if the process died,
or if its agent lost the event. Then any process of the app takes the vote over, and records its
event again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .agent.harvests import Harvest, Listener, sees_what_arrives
from .agent.new_relic import AgentLimits, Ended, NewRelic
from .errors import AgentNotRecording, StoreUnavailable
from .logs import ThrottledLog
from .model import COMPACT_JSON, Backlog, Mark, Message, Undelivered
from .stores import Store

SHARE_OF_EVENTS = 0.75
"""The part of a harvest's events that may be votes, so that the app's own events have room."""

SHARE_OF_BYTES = 0.5
"""The part of a harvest's bytes that votes may have. We count bytes before they are compressed."""

LOST_AFTER_HARVESTS = 2
"""Harvests after which an event that did not go is lost. It may just miss the first one."""

WAITING = "Votes that were not delivered wait. %s"


@dataclass
class HeldEvent:
    """An event that the agent of this process holds.

    `size` is in bytes. `has_ended` tells whether its transaction has ended. `is_repeat`: it was
    recorded before. `since` is by `time.monotonic()`. `harvests`: how many could have taken it and
    did not.
    """

    mark: Mark
    size: int
    has_ended: Ended
    is_repeat: bool
    since: float = field(default_factory=time.monotonic)
    harvests: int = 0


class Outbox:
    """What this process knows of an outbox: the votes whose events its agent should hold.

    `delivered` has the marks that could not be taken off yet. `let_go` has the marks of votes that
    this process had a lease of, and that others may take over now.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.delivered: list[Mark] = []
        self.let_go: list[Mark] = []
        self._held: dict[tuple[object, object], HeldEvent] = {}
        self._size = 0

    def room(self, limits: AgentLimits) -> int:
        """Return how many more votes may go with the next harvest."""
        if self._size >= limits.harvest_bytes * SHARE_OF_BYTES:
            return 0
        return max(max(int(limits.harvest_events * SHARE_OF_EVENTS), 1) - len(self._held), 0)

    @property
    def is_waiting(self) -> bool:
        """Whether a later harvest has something to do for these votes."""
        return bool(self._held or self.delivered or self.let_go)

    def held(self) -> list[Mark]:
        """Return the marks of the votes whose events the agent of this process should hold."""
        return [each.mark for each in list(self._held.values())]

    def hold(
        self, event: Mapping[str, Any], mark: Mark, has_ended: Ended, *, is_repeat: bool
    ) -> None:
        """Note that the agent got the event of a vote."""
        size = len(COMPACT_JSON.encode(event).encode())
        self._size += size
        self._held[_identity(event)] = HeldEvent(mark, size, has_ended, is_repeat)

    def arrived(self, feedback: Sequence[Mapping[str, Any]]) -> list[HeldEvent]:
        """Return those of our events that New Relic accepted, and drop them."""
        return self._drop([_identity(event) for event in feedback])

    def lost(self, harvest: Harvest) -> list[HeldEvent]:
        """Count this harvest for each event that it should have taken.

        Returns and drops the events that the agent must have lost.
        """
        if not harvest.has_events:
            return []
        held = list(self._held.items())
        for _, each in held:
            if each.since < harvest.began and each.has_ended():
                each.harvests += 1
        return self._drop(
            [identity for identity, each in held if each.harvests >= LOST_AFTER_HARVESTS]
        )

    def _drop(self, identities: Sequence[tuple[object, object]]) -> list[HeldEvent]:
        found = [self._held.pop(identity, None) for identity in identities]
        # Summed anew: a += of two threads at once can lose one.
        self._size = sum(each.size for each in list(self._held.values()))
        return [each for each in found if each is not None]


_waiting: set[Delivery] = set()
"""Those that wait for a harvest. Their apps may be gone before it: a task can make its own app."""


class Delivery(Listener):
    """Delivers the accepted votes of one blueprint in one app.

    `prefix` begins the name of each outbox. `event_of` makes the event of a vote on a message; its
    last argument is the most bytes that one value may have.
    """

    def __init__(
        self,
        store: Store,
        log: ThrottledLog,
        agent: NewRelic,
        prefix: str,
        event_of: Callable[[Undelivered, Message, int], dict[str, Any]],
    ) -> None:
        self._store = store
        self._log = log
        self._agent = agent
        self._prefix = prefix
        self._event_of = event_of
        self._outboxes: dict[str, Outbox] = {}
        self._agent_errors_caught = log.catch("The agent failed: a vote will be recorded again.")

    def outbox(self, application: str) -> Outbox:
        """Return the outbox of a New Relic application, which delivers its own votes only."""
        if application not in self._outboxes:
            name = f"{self._prefix}{quote(application, safe='')}"
            self._outboxes.setdefault(application, Outbox(name))
        return self._outboxes[application]

    def backlog(self, application: str) -> Backlog:
        """Return what is undelivered, of all processes; raises `StoreUnavailable`."""
        return self._store.backlog(self.outbox(application).name)

    def arrived(self, application: str, feedback: Sequence[Mapping[str, Any]]) -> None:
        """Take the marks off the votes that New Relic accepted; the agent calls this."""
        outbox = self.outbox(application)
        if arrived := outbox.arrived(feedback):
            outbox.delivered += [each.mark for each in arrived]
            self._unmark(outbox)
            self._agent.count("VotesDelivered", len(arrived))
            if copies := sum(each.is_repeat for each in arrived):
                self._agent.count("VotesDeliveredAgain", copies)

    def harvested(self, harvest: Harvest) -> None:
        """Renew the leases of what the agent holds, and take over others; the agent calls this."""
        outbox = self.outbox(harvest.application)
        lost = [each.mark for each in outbox.lost(harvest)]
        if sees_what_arrives():
            outbox.let_go += lost
        else:
            outbox.delivered += lost
        self._unmark(outbox)
        if harvest.is_active and not harvest.is_last:
            try:
                self._take_over(outbox, self._agent.limits(harvest.application))
                if outbox.held():
                    self._measure(outbox)
            except AgentNotRecording as error:
                if outbox.held() or outbox.let_go:  # else the log names each refused vote
                    self._log.warn("agent", WAITING, error)
            except StoreUnavailable as error:
                self._log.warn(error.remedy, WAITING, error)
        self._stay_if_waiting()

    def _measure(self, outbox: Outbox) -> None:
        """Tell New Relic in a metric what is undelivered, of all processes."""
        votes, oldest = self._store.backlog(outbox.name)
        if oldest is not None:
            self._agent.measure("Undelivered", votes)
            self._agent.measure("OldestUndelivered", max(time.time() - oldest / 1000, 0))

    def _take_over(self, outbox: Outbox, limits: AgentLimits) -> None:
        """Take over as many votes as the next harvest has room for, and record them."""
        let_go, room = outbox.let_go, outbox.room(limits)
        taken = self._store.take(
            outbox.name, limits.next_harvest, room, renew=outbox.held(), release=let_go
        )
        outbox.let_go = []
        votes = [(each, each.message) for each in taken if each.message is not None]
        if votes:
            outbox.let_go = [undelivered.mark for undelivered, _ in votes]
            with self._agent.transaction("deliver", limits.application):
                self._agent.limits()  # raises if a naming rule ignores this transaction
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
        self, outbox: Outbox, undelivered: Undelivered, message: Message, limits: AgentLimits
    ) -> None:
        if not outbox.room(limits):  # its bytes may be full, or the store gave more than asked for
            outbox.let_go.append(undelivered.mark)
            return
        with self._log.catch("A vote cannot be recorded: it waits."):
            try:
                event = self._event_of(undelivered, message, limits.value_bytes)
            except AgentNotRecording as error:  # a process with other settings may record it
                self._log.warn("agent", WAITING, error)
                return
            self.record_and_hold(outbox, event, undelivered.mark, is_repeat=True)

    def record_and_hold(
        self, outbox: Outbox, event: dict[str, Any], mark: Mark, *, is_repeat: bool = False
    ) -> None:
        """Hand an event to the agent, and remember it: if it is lost, it is recorded again."""
        has_ended: Ended = _has_ended
        with self._agent_errors_caught:
            has_ended = self._agent.record(event)
        outbox.hold(event, mark, has_ended, is_repeat=is_repeat)
        _waiting.add(self)

    def _stay_if_waiting(self) -> None:
        """Live until a harvest has nothing left to do for us, even if our app is gone."""
        _waiting.discard(self)  # before we look, because another thread may record a vote now
        if any(outbox.is_waiting for outbox in list(self._outboxes.values())):
            _waiting.add(self)

    def _unmark(self, outbox: Outbox) -> None:
        """Take the marks of delivered votes off, now or with a later harvest.

        If one node of the store is down, the others do not wait for it.
        """
        delivered, outbox.delivered = outbox.delivered, []
        by_node: dict[str, list[Mark]] = {}
        for mark in delivered:
            by_node.setdefault(self._store.node_of(mark.key), []).append(mark)
        for marks in by_node.values():
            try:
                self._store.unmark(marks)
            except StoreUnavailable as error:
                outbox.delivered += marks
                text = "Votes were delivered, and may be once more. %s"
                self._log.warn(error.remedy, text, error)


def _identity(event: Mapping[str, Any]) -> tuple[object, object]:
    """Return what no other vote has. A store that was restored can repeat a revision."""
    return event.get("feedback_id"), event.get("timestamp")


def _has_ended() -> bool:
    """Say that no transaction holds an event back: the agent failed to take it, so it is lost."""
    return True
