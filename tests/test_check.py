"""`flask feedback check`, run as the app is: under the real agent, on a real Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import newrelic
import pytest
from collector import Collector
from conftest import needed
from gunicorn_server import APPS
from processes import environment
from proxy import Proxy
from redis_server import RedisServer


@pytest.fixture(scope="module")
def good_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    options = {"maxmemory": "64mb", "maxmemory_policy": "volatile-ttl"}
    directory = tmp_path_factory.mktemp("redis")
    with needed(), RedisServer(directory, append_only=True, **options) as server:
        yield server


def check(
    collector: Collector, store_url: str, store_timeout: float = 5, **settings: Any
) -> tuple[int, dict[str, Any]]:
    """Run the command, and return its exit status and what it found."""
    environ = collector.environ({"startup_timeout": 10, "ai_monitoring.enabled": True} | settings)
    environ["FLASK_FEEDBACK_STORE_URL"] = store_url
    environ["FLASK_FEEDBACK_STORE_TIMEOUT"] = str(store_timeout)  # a busy machine is no finding
    command = [sys.executable, "-m", "newrelic.admin", "run-program", sys.executable, "-m", "flask"]
    done = subprocess.run(
        [*command, "--app", "chat", "feedback", "check", "--json"],
        cwd=APPS,
        env=environment(environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_where_all_is_well_the_exit_status_is_0(
    collector: Collector, good_redis: RedisServer
) -> None:
    status, found = check(collector, good_redis.url)
    assert [what for what, finding in found.items() if not finding["ok"]] == []
    assert status == 0
    assert {finding["remedy"] for finding in found.values()} == {""}
    assert found.keys() == {
        *("agent", "registered with New Relic", "high security", "custom events"),
        *("bytes of one value", "reservoir", "AI monitoring", "startup_timeout"),
        *("harvests", "store", "Redis", "memory limit and eviction", "persistence"),
        "undelivered votes",
    }
    seen = {what: finding["seen"] for what, finding in found.items()}
    assert seen["agent"] == f"version {newrelic.version}"
    assert seen["registered with New Relic"] == "tests"
    assert (seen["high security"], seen["custom events"]) == ("off", "on")
    assert seen["bytes of one value"] == "255"
    assert seen["reservoir"] == "3600 custom events a process each 0.1 s"
    assert (seen["harvests"], seen["undelivered votes"]) == ("visible", "none")
    assert (seen["AI monitoring"], seen["startup_timeout"]) == ("on", "10 s")


def test_what_is_wrong_is_named_with_its_remedy(redis_server: RedisServer, tmp_path: Path) -> None:
    no_events = {"event_harvest_config": {"harvest_limits": {"custom_event_data": 0}}}
    wrong = {
        "startup_timeout": 0,
        "ai_monitoring.enabled": False,
        "high_security": True,
        "custom_insights_events.max_attribute_value": 100,
    }
    with Collector(tmp_path, no_events) as collector:
        status, found = check(collector, redis_server.fresh_url(), **wrong)
    assert status == 1
    bad = {what for what, finding in found.items() if not finding["ok"]}
    assert bad == {
        *("high security", "custom events", "bytes of one value", "reservoir"),
        *("startup_timeout", "memory limit and eviction", "persistence"),
    }, "high security switches AI monitoring off, and no remedy names that"
    assert all(found[what]["remedy"] for what in bad)
    assert found["custom events"]["remedy"].startswith("High security mode drops custom events")


def test_a_store_that_takes_over_half_its_timeout_is_not_well(
    collector: Collector, good_redis: RedisServer
) -> None:
    with Proxy(good_redis.port) as proxy, proxy.slow(delay=0.3):
        url = f"redis://127.0.0.1:{proxy.port}/0"
        status, found = check(collector, url, store_timeout=1)
        assert (status, found["store"]["ok"]) == (1, False)
        assert "FEEDBACK_STORE_TIMEOUT" in found["store"]["remedy"]
        status, found = check(collector, url, store_timeout=10)
        assert (status, found["store"]["ok"]) == (0, True)


def test_a_new_relic_that_does_not_answer(collector: Collector, tmp_path: Path) -> None:
    with collector.held():
        status, found = check(collector, f"sqlite:///{tmp_path}/feedback.db", startup_timeout=1)
    assert status == 1
    assert not found["registered with New Relic"]["ok"]
    assert found["SQLite file"]["ok"]


def test_an_agent_that_reports_nothing_is_all_that_is_said_of_it(
    collector: Collector, tmp_path: Path
) -> None:
    status, found = check(collector, f"sqlite:///{tmp_path}/feedback.db", monitor_mode=False)
    assert status == 1
    assert not found["agent"]["ok"]
    assert "monitor_mode" in found["agent"]["remedy"]
    assert found.keys() == {"agent", "store", "SQLite file"}
