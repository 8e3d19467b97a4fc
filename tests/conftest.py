"""The fixtures: what a test can ask for."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import chromium
from certificates import Certificate, issue_certificate
from collector import Collector
from flask import Flask
from flask.testing import FlaskClient
from gunicorn_server import Gunicorn, StartServer
from needed import needed
from processes import tail
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import DURABLE, RedisServer
from werkzeug.test import TestResponse

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.testing import capture_feedback

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What one process compiles, the others read: those of xdist, and those that tests start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: Fixtures that one family of tests needs are beside what that family is made of.
pytest_plugins = [
    *("chatting", "contract", "decorated", "element_page", "engine_page", "outage"),
    *("quick_benchmarks", "stand_in"),
]


# Stores: real servers, and an empty store for each test


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests share, a database each: never frozen, never ended."""
    with needed(), RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with an append-only file, for one file of tests to freeze, kill and start again."""
    directory = tmp_path_factory.mktemp("redis")
    with needed(), RedisServer(directory, **DURABLE) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster of three that tests share one after the other; no node is ever frozen or ended."""
    directory = tmp_path_factory.mktemp("cluster")
    with needed(), RedisCluster(directory, cluster_node_timeout=30_000) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    """A Sentinel trio that all tests share, a database each: the primary stays what it is."""
    directory = tmp_path_factory.mktemp("sentinel")
    with needed(), RedisSentinel(directory, down_after_ms=30_000) as sentinel:
        yield sentinel


@pytest.fixture
def own_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    """A Sentinel trio for one test to have a failover."""
    with needed(), RedisSentinel(tmp_path_factory.mktemp("sentinel")) as sentinel:
        yield sentinel


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What the servers that talk TLS show."""
    return issue_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def new_store_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Ask for the URL of an empty store of one kind."""

    def new(kind: str) -> str:
        if kind != "sqlite":
            fixture = "redis_server" if kind == "redis" else f"redis_{kind}"
            server: RedisServer | RedisCluster | RedisSentinel = request.getfixturevalue(fixture)
            return server.fresh_url()
        return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'feedback.db'}"

    return new


@pytest.fixture
def store_kind() -> str:
    """What differs between stores is in their contract: here one is enough."""
    return "sqlite"


@pytest.fixture
def store_url(store_kind: str, new_store_url: Callable[[str], str]) -> str:
    """An empty store."""
    return new_store_url(store_kind)


# The agent: a collector, and apps under gunicorn whose agent reports to it


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """Stands in for New Relic, for one file of tests."""
    with Collector(tmp_path_factory.mktemp("collector")) as running:
        yield running


@pytest.fixture(scope="module")
def chat_server(
    collector: Collector,
    new_store_url: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> StartServer:
    """Ask for an app of support/apps under gunicorn: `with chat_server(workers=4) as server`."""

    def start(
        app: str = "chat:app",
        *,
        store_url: str | None = None,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AbstractContextManager[Gunicorn]:
        environ = collector.environ(settings)
        environ["FLASK_FEEDBACK_STORE_URL"] = store_url or new_store_url("sqlite")
        directory = tmp_path_factory.mktemp("gunicorn")
        return Gunicorn(app, directory, env=environ | dict(env or {}), **options)

    return start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for one file of tests: while it runs, nothing else can run an event loop."""
    with needed(), chromium() as running:
        yield running


# In process: an app whose events are collected, without an agent


@pytest.fixture
def feedback() -> FeedbackBlueprint:
    """The blueprint of `app`."""
    return FeedbackBlueprint()


@pytest.fixture
def app(store_url: str, feedback: FeedbackBlueprint) -> Flask:
    """An app with a chat of one route; pytest-flask's `client` calls it."""
    app = Flask(__name__)
    app.config.update(FEEDBACK_STORE_URL=store_url, FEEDBACK_STORE_TIMEOUT=2.0, TESTING=True)
    app.register_blueprint(feedback)
    app.add_url_rule("/chat", view_func=lambda: {"message_id": feedback.stash()}, endpoint="chat")
    return app


@pytest.fixture
def events(app: Flask) -> Iterator[list[dict[str, Any]]]:
    """What the agent would have taken."""
    with capture_feedback(app) as events:
        yield events


@pytest.fixture
def message_id(events: list[dict[str, Any]], client: FlaskClient) -> str:
    """A message that can be rated."""
    return client.get("/chat").json["message_id"]


@pytest.fixture
def post(client: FlaskClient, message_id: str) -> Callable[..., TestResponse]:
    """Vote on the message; `raw` is sent as it is."""

    def post(raw: str | bytes | None = None, **fields: Any) -> TestResponse:
        if raw is None:
            raw = json.dumps({"message_id": message_id, "rating": "good"} | fields)
        return client.post("/feedback", data=raw, content_type="application/json")

    return post


# How many tests run at once, and what a failed one shows


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Most tests wait for servers, so two cores have time for six; a file alone starts faster."""
    first, *others = config.args
    return 6 if others or Path(first).is_dir() else 0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Collect no garbage while pytest collects tests, which live until the end: a tenth of all."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker begin with a test that waits for long: it is given neighbours of the list."""
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if item not in long]
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    for number, item in enumerate(long):
        others.insert(number % workers * len(items) // workers, item)
    items[:] = others


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of each running server's log."""
    report = yield
    if report.failed:
        for server in Gunicorn.running:
            report.sections.append(("gunicorn's log", tail(server.log)))
    return report
