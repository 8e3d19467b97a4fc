"""The agent keeps only so many events between two harvests: no vote among them is displaced."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from reservoirs import CAPACITY, PERIOD, SIZE, Held, transaction

from feedback_blueprint.errors import AgentNotRecording
from feedback_blueprint.reservoir import Reservoir
from feedback_blueprint.telemetry import NewRelic


@pytest.mark.parametrize("name", ["application", "pq", "_custom_events", ""])
def test_an_agent_that_hides_its_reservoir_is_limited_by_the_clock(caplog, monkeypatch, name):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now[0])
    reservoir = Reservoir()
    held = Held([]) if name else SimpleNamespace(pq=[])  # the latter takes no weak reference
    hidden = transaction(held)
    if name:
        setattr(held if name == "pq" else hidden, name, None)
    for _ in range(CAPACITY // 2):
        reservoir.check(hidden, SIZE)
        reservoir.keep(hidden)
    for seconds in 0, PERIOD:
        now[0] += seconds
        with pytest.raises(AgentNotRecording, match="harvest"):
            reservoir.check(hidden, SIZE)
    now[0] += 1
    reservoir.check(hidden, SIZE)
    assert len(caplog.records) == 1, "it is said once"


def test_a_vote_outranks_all_that_its_transaction_recorded_unless_that_is_full():
    recording, full = transaction(None), transaction(None)
    full._custom_events.heap = True
    for each in (recording, full):
        Reservoir().keep(each)
    calls = [(0.7, 0, "call"), (0.6, 1, "call")]
    assert recording._custom_events.pq == [*calls, (10.5, 2, "vote")]
    assert full._custom_events.pq == [*calls, (0.5, 2, "vote")]


@pytest.mark.parametrize(("capacity", "room"), [(40, 20), (200, 136), (3600, 3420)])
def test_some_room_is_left_for_what_others_do_meanwhile(capacity, room):
    reservoir, held = Reservoir(), Held([])
    admitted = [transaction(held, capacity) for _ in range(room)]
    for each in admitted:
        reservoir.check(each, SIZE)
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(held, capacity), SIZE)


@pytest.mark.parametrize(("period", "seconds"), [(0.5, 1), (1, 1), (3, 3), (4.5, 5)])
def test_a_vote_without_room_may_come_again_after_the_harvest(period, seconds):
    reservoir = Reservoir()
    full = Held([(10.0, number, "vote") for number in range(CAPACITY)])
    with pytest.raises(AgentNotRecording) as refused:
        reservoir.check(transaction(full, period=period), SIZE)
    assert refused.value.retry_after == seconds
    del refused, full  # the exception knows it, too
    reservoir.check(transaction(Held([])), SIZE)  # a harvest leaves an empty one


def test_votes_that_a_failed_harvest_brought_back_count(monkeypatch):
    full = [(10.5, number, "vote") for number in range(CAPACITY)]
    with pytest.raises(AgentNotRecording):
        Reservoir().check(transaction(Held(full)), SIZE)
    others = [(1.5, number, "noise") for number in range(CAPACITY)]
    held, reservoir = Held(others), Reservoir()
    reservoir.check(transaction(held), SIZE)
    held.pq = full
    now = time.monotonic()
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now + 2)
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(held), SIZE)


def test_votes_that_are_being_sent_keep_their_room_until_they_arrived():
    reservoir, held = Reservoir(), Held([])
    sent = Held([(10.5, number, "vote") for number in range(CAPACITY - 65)])
    reservoir.check(transaction(sent), SIZE)
    sent.pq.append((10.5, CAPACITY, "vote"))
    late = transaction(held)
    with pytest.raises(AgentNotRecording):
        reservoir.check(late, SIZE)
    held.pq = list(sent.pq)
    del sent  # it failed, and what was in it has come back
    with pytest.raises(AgentNotRecording):
        reservoir.check(late, SIZE)
    del held, late
    reservoir.check(transaction(Held([])), SIZE)


def test_blueprints_share_what_their_application_has():
    one, another = transaction(None), transaction(None)
    assert NewRelic()._reservoir(one) is NewRelic()._reservoir(another)
    another.application.name = "another"
    assert NewRelic()._reservoir(one) is not NewRelic()._reservoir(another)


def test_votes_of_transactions_that_have_not_ended_count(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now[0])
    reservoir, held = Reservoir(), Held([])
    under_way = [transaction(held) for _ in range(CAPACITY)]
    for each in under_way[: CAPACITY - 64]:
        now[0] += 2  # each time it is counted again
        reservoir.check(each, SIZE)
        reservoir.keep(each)
    now[0] += 2
    with pytest.raises(AgentNotRecording):
        reservoir.check(under_way[-1], SIZE)
    for each in under_way[:-1]:
        each.settings = None  # as the agent ends one
    now[0] += 2
    reservoir.check(under_way[-1], SIZE)


def test_votes_that_are_admitted_at_the_same_time_fit_all_and_who_does_not_vote_takes_no_room():
    reservoir, held = Reservoir(), Held([])
    at_once = [transaction(held) for _ in range(CAPACITY - 64)]
    for each in at_once:
        reservoir.check(each, SIZE)
        reservoir.check(each, SIZE)  # for a second vote: the first one did not come
    late = transaction(held)
    with pytest.raises(AgentNotRecording):
        reservoir.check(late, SIZE)
    reservoir.keep(at_once.pop())
    with pytest.raises(AgentNotRecording):
        reservoir.check(late, SIZE)
    at_once[0].settings = None  # as the agent ends one
    reservoir.check(late, SIZE)


def test_a_transaction_that_can_keep_no_more_events_takes_no_vote():
    busy = transaction(Held([]))
    busy._custom_events.num_seen = CAPACITY - 2
    Reservoir().check(busy, SIZE)
    busy._custom_events.num_seen = CAPACITY - 1
    with pytest.raises(AgentNotRecording):
        Reservoir().check(busy, SIZE)


def test_an_event_that_comes_after_its_transaction_is_refused():
    with pytest.raises(AgentNotRecording):
        NewRelic().record({"rating": 1})
