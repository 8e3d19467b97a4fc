"""Harvests of the real agent that are too large to be sent, or fail: no vote in them is lost."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import pytest
from chatting import made, rate
from collector import Collector
from gunicorn_server import Gunicorn

PERIOD, CAPACITY = 5, 300  # New Relic's own, by default


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    limits = {"report_period_ms": PERIOD * 1000, "harvest_limits": {"custom_event_data": CAPACITY}}
    directory = tmp_path_factory.mktemp("collector")
    with Collector(directory, {"event_harvest_config": limits}) as running:
        yield running


@pytest.fixture(scope="module")
def server(chat_server) -> Iterator[Gunicorn]:
    with chat_server() as running:
        yield running


def begin_a_harvest(server: Gunicorn, collector: Collector) -> None:
    rate(server, message_id := made(server))
    collector.wait_for(message_id=message_id)


def random_text(size: int) -> str:
    return base64.b85encode(random.randbytes(size)).decode()[:size]


def test_votes_that_are_too_large_for_one_harvest_are_refused_and_none_is_lost(
    server: Gunicorn, collector: Collector
) -> None:
    messages = [made(server) for _ in range(10)]
    begin_a_harvest(server, collector)
    taken, refused = set(), 0
    for rating in range(20):
        for message_id in messages:
            metadata = {f"name_{number}": random_text(255) for number in range(16)}
            vote = {"rating": rating, "message": random_text(4095), "metadata": metadata}
            answer = rate(server, message_id, **vote)
            refused += answer.status == 503
            if answer.status == 202:
                taken.add((message_id, answer.json["revision"]))
    assert refused
    collector.wait_for(
        lambda events: taken <= {(each["message_id"], each["revision"]) for each in events},
        timeout=4 * PERIOD,
    )


def test_votes_on_their_way_to_a_new_relic_that_fails_are_not_displaced(
    server: Gunicorn, collector: Collector
) -> None:
    first, later = ([made(server) for _ in range(count)] for count in (CAPACITY - 64, 100))
    begin_a_harvest(server, collector)
    collector.fail("custom_event_data", 503)
    with collector.held("custom_event_data") as answer:
        taken = {each for each in first if rate(server, each).status == 202}
        collector.wait_held("custom_event_data")
        taken |= {each for each in later if rate(server, each).status == 202}
        answer()
        collector.wait_failed("custom_event_data")
    collector.wait_for(
        lambda events: taken <= {each["message_id"] for each in events}, timeout=4 * PERIOD
    )
