"""The agent keeps only so many events between two harvests: no vote among them is displaced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from collector import Collector
from gunicorn_server import Gunicorn
from processes import wait_until

from feedback_blueprint.errors import AgentNotRecording
from feedback_blueprint.telemetry import NewRelic, Reservoir

PERIOD, CAPACITY = 3, 200

#: Half of it is for votes, which even a busy machine casts within a period.
FEW = 40


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A New Relic that wants few events, seldom."""
    config = {"report_period_ms": PERIOD * 1000, "harvest_limits": {"custom_event_data": FEW}}
    directory = tmp_path_factory.mktemp("collector")
    with Collector(directory, {"event_harvest_config": config}) as running:
        yield running


@pytest.fixture(scope="module")
def server(chat_server) -> Iterator[Gunicorn]:
    with chat_server("noisy:app") as running:
        yield running


def test_more_votes_than_a_harvest_can_take_are_refused_and_none_is_lost(
    server: Gunicorn, collector: Collector
) -> None:
    made = [server.post("/plain", {"prompt": "hi"}).json["message_id"] for _ in range(3 * FEW)]
    answers = {}
    for number, message_id in enumerate(made):
        if number % 20 == 0:
            server.post(f"/noise/{FEW}")
        answers[message_id] = server.post("/feedback", {"message_id": message_id, "rating": 1})
    taken = {message_id for message_id, answer in answers.items() if answer.status == 202}
    refused = {message_id: answer for message_id, answer in answers.items() if answer.status == 503}
    assert len(taken) + len(refused) == len(made)
    assert taken
    for answer in refused.values():
        assert answer.json["code"] == "agent-not-recording"
        assert "harvest" in answer.json["detail"]
        assert 1 <= int(answer.headers["Retry-After"]) <= PERIOD
    collector.wait_for(lambda events: taken <= {event["message_id"] for event in events})
    assert collector.events("Noise"), "the reservoir was full of other events, too"
    assert refused, "the reservoir was never full"
    wait_until(
        lambda: server.post("/feedback", {"message_id": min(refused), "rating": 1}).status == 202,
        "room after a harvest",
    )


class Transaction(SimpleNamespace):
    """A transaction as the agent makes it, as far as a reservoir looks at it."""

    __hash__ = object.__hash__


def transaction(reservoir, capacity=CAPACITY, period=PERIOD):
    limits = SimpleNamespace(custom_event_data=capacity)
    config = SimpleNamespace(harvest_limits=limits, report_period_ms=period * 1000)
    engine = SimpleNamespace(custom_events=reservoir)
    core = SimpleNamespace(application=lambda _: SimpleNamespace(_stats_engine=engine))
    return Transaction(
        settings=SimpleNamespace(event_harvest_config=config),
        application=SimpleNamespace(_agent=core, name="app"),
        _custom_events=SimpleNamespace(
            heap=False, pq=[(0.7, 0, "call"), (0.5, 1, "vote")], num_seen=2, capacity=capacity
        ),
    )


@pytest.mark.parametrize("name", ["application", "pq", "_custom_events"])
def test_an_agent_that_hides_its_reservoir_is_limited_by_the_clock(caplog, monkeypatch, name):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now[0])
    reservoir, held = Reservoir(), SimpleNamespace(pq=[])
    hidden = transaction(held)
    setattr(held if name == "pq" else hidden, name, None)
    for _ in range(CAPACITY // 2):
        reservoir.check(hidden)
        reservoir.keep(hidden)
    with pytest.raises(AgentNotRecording, match="harvest"):
        reservoir.check(hidden)
    now[0] += PERIOD + 1
    reservoir.check(hidden)
    assert len(caplog.records) == 1, "it is said once"


def test_a_vote_outranks_all_that_its_transaction_recorded_unless_that_is_full():
    recording, full = transaction(None), transaction(None)
    full._custom_events.heap = True
    for each in (recording, full):
        Reservoir().keep(each)
    assert recording._custom_events.pq == [(0.7, 0, "call"), (10.5, 1, "vote")]
    assert full._custom_events.pq == [(0.7, 0, "call"), (0.5, 1, "vote")]


@pytest.mark.parametrize(("capacity", "room"), [(40, 20), (200, 136), (3600, 3420)])
def test_some_room_is_left_for_what_others_do_meanwhile(capacity, room):
    reservoir, held = Reservoir(), SimpleNamespace(pq=[])
    admitted = [transaction(held, capacity) for _ in range(room)]
    for each in admitted:
        reservoir.check(each)
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(held, capacity))


@pytest.mark.parametrize(("period", "seconds"), [(0.5, 1), (1, 1), (3, 3), (4.5, 5)])
def test_a_vote_without_room_may_come_again_after_the_harvest(period, seconds):
    reservoir = Reservoir()
    full = SimpleNamespace(pq=[(10.5, number, "vote") for number in range(CAPACITY)])
    with pytest.raises(AgentNotRecording) as refused:
        reservoir.check(transaction(full, period=period))
    assert refused.value.retry_after == seconds
    reservoir.check(transaction(SimpleNamespace(pq=[])))  # a harvest leaves an empty one


def test_votes_that_a_failed_harvest_brought_back_count(monkeypatch):
    full = [(10.5, number, "vote") for number in range(CAPACITY)]
    with pytest.raises(AgentNotRecording):
        Reservoir().check(transaction(SimpleNamespace(pq=full)))
    others = [(1.5, number, "noise") for number in range(CAPACITY)]
    held, reservoir = SimpleNamespace(pq=others), Reservoir()
    reservoir.check(transaction(held))
    held.pq = full
    now = time.monotonic()
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now + 2)
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(held))


def test_votes_of_transactions_that_have_not_ended_count(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now[0])
    reservoir, held = Reservoir(), SimpleNamespace(pq=[])
    under_way = [transaction(held) for _ in range(CAPACITY)]
    for each in under_way[: CAPACITY - 64]:
        now[0] += 2  # each time it is counted again
        reservoir.check(each)
        reservoir.keep(each)
    now[0] += 2
    with pytest.raises(AgentNotRecording):
        reservoir.check(under_way[-1])
    for each in under_way[:-1]:
        each.settings = None  # as the agent ends one
    now[0] += 2
    reservoir.check(under_way[-1])


def test_votes_that_are_admitted_at_the_same_time_fit_all_and_who_does_not_vote_takes_no_room():
    reservoir, held = Reservoir(), SimpleNamespace(pq=[])
    at_once = [transaction(held) for _ in range(CAPACITY - 64)]
    for each in at_once:
        reservoir.check(each)
        reservoir.check(each)  # for a second vote: the first one did not come
    late = transaction(held)
    with pytest.raises(AgentNotRecording):
        reservoir.check(late)
    reservoir.keep(at_once.pop())
    with pytest.raises(AgentNotRecording):
        reservoir.check(late)
    at_once[0].settings = None  # as the agent ends one
    reservoir.check(late)


def test_a_transaction_that_can_keep_no_more_events_takes_no_vote():
    busy = transaction(SimpleNamespace(pq=[]))
    busy._custom_events.num_seen = CAPACITY - 2
    Reservoir().check(busy)
    busy._custom_events.num_seen = CAPACITY - 1
    with pytest.raises(AgentNotRecording):
        Reservoir().check(busy)


def test_an_event_that_comes_after_its_transaction_is_refused():
    with pytest.raises(AgentNotRecording):
        NewRelic().record({"rating": 1})
