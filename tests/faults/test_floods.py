"""Clients who fill the agent's harvests, or choose their events' priority: every vote arrives."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import pytest
from arrival import Taken, assert_all_arrive, chat_and_vote, of_priority, vote
from chatting import at_once, made, rate
from collector import Collector
from gunicorn_server import Gunicorn

FEW = 20
SMALL = 50_000  # bytes


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A New Relic that wants few events, and small requests."""
    harvests = {"report_period_ms": 500, "harvest_limits": {"custom_event_data": FEW}}
    config = {"event_harvest_config": harvests, "max_payload_size_in_bytes": SMALL}
    with Collector(tmp_path_factory.mktemp("collector"), config) as running:
        yield running


@pytest.fixture(scope="module")
def server(chat_server) -> Iterator[Gunicorn]:
    settings = {"distributed_tracing.enabled": True}
    with chat_server("noisy:app", settings=settings) as running:
        yield running


@pytest.mark.parametrize("priority", ["inf", "nan"])
def test_events_of_any_priority_displace_no_vote_for_good(
    server: Gunicorn, collector: Collector, priority: str
) -> None:
    headers = of_priority(priority)
    message_ids = [made(server) for _ in range(10)]
    taken: Taken = {}
    for message_id in message_ids:
        server.post(f"/noise/{FEW}", headers=headers)
        taken |= vote(server, [message_id])
    assert_all_arrive(collector, taken)


@pytest.mark.parametrize("priority", ["0", "nan"])
def test_a_voter_does_not_choose_the_priority_of_a_vote(
    server: Gunicorn, collector: Collector, priority: str
) -> None:
    message_ids = [made(server) for _ in range(10)]
    taken: Taken = {}
    for message_id in message_ids:
        answer = rate(server, message_id, headers=of_priority(priority))
        taken[answer.json["feedback_id"], 1] = message_id
        server.post(f"/noise/{FEW}")
    assert_all_arrive(collector, taken)
    assert collector.events("Noise"), "there were other events, too"


def test_one_client_does_not_close_voting_for_others(
    server: Gunicorn, collector: Collector
) -> None:
    """Not with more votes than several harvests can carry: all are accepted, and arrive."""
    message_ids = at_once(lambda _: made(server), range(3 * FEW), callers=8)
    others = chat_and_vote(server, 5)
    answers = at_once(lambda each: rate(server, each), message_ids, callers=8)
    assert {answer.status for answer in answers} == {202}
    others |= chat_and_vote(server, 5)
    taken = {(answer.json["feedback_id"], 1): "" for answer in answers}
    assert_all_arrive(collector, taken | others)


def random_text(size: int) -> str:
    return base64.b85encode(random.randbytes(size)).decode()[:size]


def test_votes_that_are_too_large_for_one_harvest_are_accepted_and_all_arrive(
    server: Gunicorn, collector: Collector
) -> None:
    taken: Taken = {}
    for _ in range(20):
        message_id = made(server)
        metadata = {f"name_{number}": random_text(255) for number in range(16)}
        answer = rate(server, message_id, message=random_text(4095), metadata=metadata)
        assert answer.status == 202, answer.text
        taken[answer.json["feedback_id"], answer.json["revision"]] = message_id
    assert_all_arrive(collector, taken)
