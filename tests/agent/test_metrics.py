"""Metrics: kept in the process until the agent can take them, and handed over with its harvests."""

from __future__ import annotations

import os
from types import SimpleNamespace

import newrelic.agent
from chatting import assert_not_recording, assert_recorded, assert_untouched, chat, made, rate
from collector import Collector
from gunicorn_server import StartServer
from newrelic.core.stats_engine import CustomMetrics
from processes import wait_until

from feedback_blueprint.agent import metrics as module
from feedback_blueprint.agent import new_relic
from feedback_blueprint.agent.harvests import HARVEST
from feedback_blueprint.agent.metrics import Metrics
from feedback_blueprint.agent.new_relic import NewRelic


def test_a_new_process_takes_nothing_before_its_agent_is_connected_and_then_tells_what_it_missed(
    chat_server: StartServer, collector: Collector
) -> None:
    """The first requests of a process have no trace ID: that is what the metric is for."""
    with collector.held() as release, chat_server(connected=False) as server:
        for _ in range(3):
            assert_untouched(chat(server))
        assert_not_recording(server, "any", "connecting", "startup_timeout")
        release()
        wait_until(lambda: server.get("/").json["trace_id"], "the agent to connect")
        assert_recorded(server, collector, made(server))
        assert rate(server, "never made").status == 404
        server.stop()  # an agent that ends sends all it has
    told = {
        name.removeprefix(module.PREFIX): value
        for name, value in collector.metrics().items()
        if name.startswith(module.PREFIX)
    }
    assert told.pop("StoreSeconds") > 0
    assert told.items() >= {"StashesMissed": 3, "VotesAccepted": 1, "VotesUnknown": 1}.items()


def test_metrics_are_kept_until_the_agent_has_a_session_and_handed_over_as_it_wants_them(
    monkeypatch,
):
    recorded, application = CustomMetrics(), None
    monkeypatch.setattr(newrelic.agent, "application", lambda **_: application)
    metrics = Metrics()

    def told():
        metrics.hand_over()
        return {name: list(values) for name, values in recorded.metrics()}

    metrics.add("Votes", 1, 3)
    assert told() == {}
    application = SimpleNamespace(active=False, record_custom_metric=recorded.record_custom_metric)
    metrics.add("Votes", 1)
    for seconds in 2.0, 0.5:
        metrics.add("Seconds", seconds)
    assert told() == {}
    application.active = True
    first = {
        "Custom/Feedback/Votes": [4, 4, 4, 1, 1, 4],
        "Custom/Feedback/Seconds": [2, 2.5, 2.5, 0.5, 2.0, 4.25],
    }
    assert told() == first
    assert told() == first, "each is told once"


def test_a_child_does_not_tell_what_its_parent_counted():
    metrics = Metrics()
    metrics.add("Votes", 1)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        metrics.add("Seconds", 2.0)
        os.write(writer, repr(metrics._sums()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1000).startswith(b"{'Seconds': Sum(count=1,")
    assert list(metrics._sums()) == ["Votes"]


def test_an_agent_whose_harvests_cannot_be_seen_gets_the_metrics_at_once(monkeypatch):
    told = []
    application = SimpleNamespace(active=True, record_custom_metric=lambda *each: told.append(each))
    monkeypatch.setattr(newrelic.agent, "application", lambda **_: application)
    monkeypatch.setattr(new_relic, "METRICS", Metrics())
    NewRelic().count("Votes")
    assert told == []
    monkeypatch.setattr(new_relic, "missing_functions", lambda: (HARVEST,))
    NewRelic().measure("Seconds", 2.0)
    assert [name for name, _ in told] == ["Custom/Feedback/Votes", "Custom/Feedback/Seconds"]
