"""What the agent's page says of each server, and that a stop of any of them loses no vote."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException

import pytest
from app_servers import SERVERS, AppServer
from arrival import Taken, arrived, chat_and_vote
from collector import Collector
from processes import wait_until

from feedback_blueprint.stores import store_from_url

NEED_A_REMEDY = [name for name, row in SERVERS.items() if row.sends != "yes"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A New Relic to which agents report once a minute, and when they end."""
    minute = {"event_harvest_config": {"report_period_ms": 60_000}}
    with Collector(tmp_path_factory.mktemp("patient"), minute) as running:
        yield running


@pytest.fixture
def environ(patient: Collector, new_store_url) -> dict[str, str]:
    return patient.environ() | {"FLASK_FEEDBACK_STORE_URL": new_store_url("sqlite")}


def undelivered(store_url: str) -> int:
    """How many votes the store of a server's app has marked, of an app that ended."""
    store = store_from_url(store_url, timeout=5, instance_path="", key="KEY")
    return store.backlog("fb:!outbox:tests").votes


def stop_under_use(server: AppServer) -> Taken:
    """Stop it while two users chat and vote, and return what it had accepted before they came.

    A vote is the agent's only after its answer has gone out: of the last ones it may know nothing.
    """
    taken, meanwhile = chat_and_vote(server), []

    def use() -> None:
        # Until it no longer answers, or answers as a server that is stopping
        with suppress(OSError, HTTPException, AssertionError):
            while True:
                meanwhile.append(chat_and_vote(server, 1))
                time.sleep(0.01)  # between two answers

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    wait_until(lambda: len(meanwhile) >= 4, "some use")
    server.stop()
    for user in users:
        user.join()
    return taken


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_of_the_table_starts_and_stops_as_it_says(
    patient: Collector, environ, tmp_path, name: str
) -> None:
    with AppServer(name, tmp_path, environ) as server, ThreadPoolExecutor(4) as pool:
        with patient.held() as release:
            first = [pool.submit(server.get, "/") for _ in range(4)]
            patient.wait_held("connect")
            release()
        blind = [each for each in first if not each.result().json["trace_id"]]
        assert not blind, "the first requests wait for the agent"
        taken = stop_under_use(server)
    if SERVERS[name].sends == "yes":
        assert len(arrived(patient, taken)) == len(taken)
    else:
        assert not arrived(patient, taken)
        assert undelivered(environ["FLASK_FEEDBACK_STORE_URL"]) >= len(taken), "they wait"


@pytest.mark.parametrize("name", NEED_A_REMEDY)
def test_a_stop_of_a_server_sends_all_with_what_the_table_names(
    patient: Collector, environ, tmp_path, name: str
) -> None:
    with AppServer(name, tmp_path, environ, remedied=True) as server:
        taken = stop_under_use(server)
    assert len(arrived(patient, taken)) == len(taken)


def test_the_table_names_the_servers_that_people_run() -> None:
    names = " ".join(SERVERS)
    for name in ("gunicorn", "gevent", "uWSGI", "waitress", "uvicorn", "granian", "hypercorn"):
        assert re.search(name, names)
