"""The check of an installation: what the agent, the store and the app's keys look like."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from .errors import StoreUnavailable
from .model import Finding, Message, VoteRequest
from .stores import SLOW_REMEDY, is_slow
from .votes import Votes

LATE_SECONDS = 300.0
"""Seconds after which a vote should be delivered, even if the process that took it died."""


def check(votes: Votes, *, full: bool = False) -> list[Finding]:
    """Check the agent, the store and the keys, and vote on a message made for the purpose.

    It takes about a second, however many messages there are. If it is `full`, a SQLite file is read
    to its end, which may take minutes.
    """
    parts: list[Callable[[], list[Finding]]] = [
        lambda: _round_trip(votes),
        lambda: votes.store.check(votes.keys.beginning, full=full),
        votes.upkeep.compare_keys,
        lambda: _undelivered(votes),
    ]
    findings = votes.agent.check()
    findings.append(Finding("kept in", True, f"{votes.store.location()}, by {votes.chosen_by}"))
    for part in parts:
        try:
            findings += part()
        except StoreUnavailable as error:
            finding = Finding("store", False, error.why, error.remedy)
            if finding not in findings:
                findings.append(finding)
            if error.unreachable:
                break
    return findings


def _round_trip(votes: Votes) -> list[Finding]:
    store, key, rater = votes.store, votes.keys.of(f"check {uuid4().hex}"), os.urandom(16)
    start = time.perf_counter()
    ttl = timedelta(seconds=10)
    store.stash(key, Message("0" * 32, rater), ttl)
    try:
        request = VoteRequest(b"[0]", 1, outbox=votes.keys.check, lease=10, ttl=ttl)
        result = store.vote(key, [rater], request)
        store.unmark([result.mark] if result.mark else [])
        took = time.perf_counter() - start
        store.read([key], [rater])  # timed alone: the first calls connect, and load our scripts
        trip = time.perf_counter() - start - took
    finally:
        with suppress(StoreUnavailable):
            store.remove(key)
    ok = result.status == "accepted" and not is_slow(trip, votes.settings.store_timeout)
    seen = f"a message and a vote in {took * 1000:.1f} ms, a read in {trip * 1000:.1f} ms"
    return [Finding("store", ok, seen, SLOW_REMEDY)]


def _undelivered(votes: Votes) -> list[Finding]:
    """Check what is undelivered, even if New Relic does not answer."""
    name = votes.agent.application_name()
    if name is None:
        return []
    backlog = votes.delivery.backlog(name)
    if backlog.oldest is None:
        return [Finding("undelivered votes", True, "none")]
    age = time.time() - backlog.oldest / 1000
    remedy = "Check the agent's log, and run flask feedback deliver if no process of the app runs."
    seen = f"{backlog.votes}, the oldest for {age:.0f} s"
    return [Finding("undelivered votes", age < LATE_SECONDS, seen, remedy)]
