"""New Relic refuses what the agent sends: every vote arrives, none twice that the agent kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from arrival import assert_all_arrive, chat_and_vote, vote
from chatting import made
from collector import Collector
from gunicorn_server import Gunicorn

VOTES = "custom_event_data"

#: One of the kinds of data that each harvest sends before votes.
OTHER = "analytic_event_data"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A New Relic that is told twice a second, as votes are to meet in a harvest."""
    config = {"event_harvest_config": {"report_period_ms": 500}}
    with Collector(tmp_path_factory.mktemp("collector"), config) as running:
        yield running


@pytest.fixture(scope="module")
def server(chat_server) -> Iterator[Gunicorn]:
    with chat_server("noisy:app", settings={"distributed_tracing.enabled": True}) as running:
        yield running


@pytest.mark.parametrize(("kind", "status"), [(VOTES, 413), (VOTES, 502), (OTHER, 413)])
def test_a_harvest_that_is_discarded_loses_no_vote(
    server: Gunicorn, collector: Collector, kind: str, status: int
) -> None:
    collector.fail(kind, status, times=2)  # the second one, if not the first, has all votes in it
    taken = chat_and_vote(server)
    collector.wait_failed(kind)
    assert_all_arrive(collector, taken)


def test_an_agent_that_is_told_to_restart_loses_no_vote(
    server: Gunicorn, collector: Collector
) -> None:
    runs = collector.runs
    collector.fail(VOTES, 409)
    taken = chat_and_vote(server)
    collector.wait_connected(runs + 1)
    assert_all_arrive(collector, taken)


@pytest.mark.parametrize(("kind", "status"), [(VOTES, 0), (VOTES, 503), (OTHER, 503)])
def test_an_outage_that_the_agent_sits_out_makes_no_copies(
    server: Gunicorn, collector: Collector, kind: str, status: int
) -> None:
    collector.fail(kind, status, times=5)  # more harvests than a lost event is waited for
    taken = chat_and_vote(server)
    collector.wait_failed(kind)
    assert assert_all_arrive(collector, taken) == 0


def test_feedback_is_sent_alone_if_other_events_made_a_harvest_too_large(
    server: Gunicorn, collector: Collector
) -> None:
    """The same harvest brings the votes: not one has to be recorded again."""
    collector.fail(VOTES, 413)
    message_id = made(server)
    server.post("/noise/10")
    taken = vote(server, [message_id])
    collector.wait_failed(VOTES)
    assert assert_all_arrive(collector, taken, timeout=2) == 0
