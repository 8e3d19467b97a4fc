"""Harvests of the real agent that are full, too large, or fail: no vote in them is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from collector import Collector
from gunicorn_server import Gunicorn
from processes import wait_until

PERIOD = 3

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
