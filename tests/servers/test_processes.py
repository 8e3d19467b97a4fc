"""Every way to run workers: whatever forks, and whenever, each has its own connections."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from chatting import PATIENT, at_once, chat, rate
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from processes import wait_until
from store_kinds import SCALED_OUT, STORES

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.stores import RedisStore
from feedback_blueprint.stores.redis import connections

EVERYWHERE = STORES + SCALED_OUT

WORKERS = {
    "sync": {"worker_class": "sync"},
    "gthread": {"worker_class": "gthread", "threads": 8},
    "gevent": {"worker_class": "gevent"},
}


def assert_all_recorded(server: Gunicorn, collector: Collector, number: int) -> set[str]:
    """So many messages, then as many votes, from so many callers at once; who took them."""
    messages = at_once(lambda _: chat(server), range(number), callers=number)
    message_ids = [message.headers["X-Message-ID"] for message in messages]
    assert message_ids.count(None) == 0
    votes = at_once(lambda each: rate(server, each), message_ids, callers=number)
    assert Counter(vote.status for vote in votes) == {202: number}
    wanted = set(message_ids)
    collector.wait_for(lambda events: wanted <= {event["message_id"] for event in events})
    return {vote.headers["X-Worker"] for vote in votes}


def assert_two_workers_record(server: Gunicorn, collector: Collector) -> None:
    seen: set[str] = set()

    def two() -> bool:
        seen.update(assert_all_recorded(server, collector, 20))
        return len(seen) == 2

    wait_until(two, "the second worker")


@pytest.mark.parametrize(
    ("kind", "workers"), list(zip(EVERYWHERE, [*WORKERS, "gthread"], strict=True))
)
def test_a_store_used_before_the_fork_serves_every_worker(
    chat_server: StartServer,
    collector: Collector,
    new_store_url: Callable[[str], str],
    kind: str,
    workers: str,
) -> None:
    """The master preloads an app that stashes and votes while it is imported."""
    options = {"workers": 2, "options": ["--preload"], **WORKERS[workers]}
    url = new_store_url(kind)
    with chat_server("warm:app", store_url=url, env=PATIENT, **options) as server:
        assert_two_workers_record(server, collector)


@pytest.mark.parametrize(("kind", "options"), [("redis", []), ("cluster", ["--preload"])])
def test_300_greenlets_at_once_on_one_worker_lose_nothing(
    chat_server: StartServer,
    collector: Collector,
    new_store_url: Callable[[str], str],
    kind: str,
    options: list[str],
) -> None:
    """With the default timeout: to wait for a connection is not an outage."""
    url = new_store_url(kind)
    with chat_server(store_url=url, worker_class="gevent", options=options) as server:
        assert_all_recorded(server, collector, 300)


@pytest.mark.parametrize("kind", ["redis", "sentinel"])
def test_who_finds_all_connections_in_use_learns_nothing_about_the_store(
    new_store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    store: Any = RedisStore.from_url(new_store_url(kind), timeout=0.1)
    connection = store._client.connection_pool.get_connection()
    with pytest.raises(StoreUnavailable) as refused:
        store.read(["m"], [b""])
    assert refused.value.unreachable == "turn"
    store._client.connection_pool.release(connection)
    assert store.read(["m"], [b""]) == [None]


REGISTER = """
import os, sys, threading

def sockets():
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sorted(os.readlink(link) for link in links if os.path.islink(link)
                  and os.readlink(link).startswith(("socket:", "anon_inode:")))

def looks():
    return sockets(), threading.enumerate(), os.listdir()

import flask, newrelic.agent
before = looks()
from feedback_blueprint import FeedbackBlueprint
assert looks() == before, looks()
for url in sys.argv[1:]:
    app = flask.Flask("app", root_path=os.getcwd())
    app.config["FEEDBACK_STORE_URL"] = url or None
    feedback = FeedbackBlueprint()
    feedback.trace_message(lambda: "text")
    app.register_blueprint(feedback)
    assert looks() == before, (url, looks())
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")
def test_nothing_is_started_or_opened_before_the_first_use(tmp_path: Path) -> None:
    """Nor is anything connected to and closed again: the servers here would see it."""
    with ExitStack() as stack:
        listening = [stack.enter_context(closing(create_server(("127.0.0.1", 0)))) for _ in "12"]
        one, two = (f"127.0.0.1:{each.getsockname()[1]}" for each in listening)
        urls = [
            "",
            f"sqlite:///{tmp_path}/feedback.db",
            f"redis://:secret@{one}/0",
            f"rediss://{one}/0",
            f"redis+cluster://{one},{two}",
            f"rediss+cluster://{one},{two}",
            f"redis+sentinel://{one},{two}/service/0",
            f"rediss+sentinel://{one},{two}/service/0",
        ]
        subprocess.run(
            [sys.executable, "-c", REGISTER, *urls], cwd=tmp_path, env=os.environ, check=True
        )
        for each in listening:
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.accept()
    assert list(tmp_path.iterdir()) == []
