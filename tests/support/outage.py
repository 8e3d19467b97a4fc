"""An app, what its users see of an outage, and the servers that have one."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis
from certificates import Certificate
from flask import Flask
from needed import needed
from processes import wait_until
from proxy import Proxy
from redis_cluster import RedisCluster
from redis_server import DURABLE, RedisServer
from runbook import is_quoted

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.stores import Store
from feedback_blueprint.testing import capture_feedback

TIMEOUT = 0.5  # on a busy machine, it takes longer to connect to a cluster
PASSWORD = "a-password-that-nobody-may-read"
USERS = f"user default on nopass ~* &* +@all\nuser app on >{PASSWORD} ~* &* +@all\n"


class Chat:
    """An app with one route beside the blueprint's, called in process."""

    reply = "what the user waits for"

    def __init__(self, url: str) -> None:
        self.app = Flask(__name__)
        self.app.config.update(FEEDBACK_STORE_URL=url, FEEDBACK_STORE_TIMEOUT=TIMEOUT)
        feedback = FeedbackBlueprint()
        self.app.register_blueprint(feedback)
        self.app.add_url_rule("/chat", view_func=feedback.trace_message(lambda: self.reply))
        self.client = self.app.test_client()
        self.answers: list[str] = []

    def chat(self) -> str | None:
        """Have a message made, which always works; return its ID if it can be rated."""
        answer = self.client.get("/chat")
        assert (answer.status_code, answer.text) == (200, self.reply)
        return answer.headers.get("X-Message-ID")

    def rate(self, message_id: str, rating: str = "good") -> int:
        vote = {"message_id": message_id, "rating": rating}
        answer = self.client.post("/feedback", json=vote)
        if answer.status_code == 503:
            assert answer.mimetype == "application/problem+json"
            assert answer.json["code"] == "store-unavailable"
            assert int(answer.headers["Retry-After"]) >= 1
        self.answers.append(answer.text)
        return answer.status_code


@contextmanager
def soon() -> Iterator[None]:
    """What is done inside waits at most two timeouts, which are a second.

    The rest is for a busy machine. redis-py alone would wait for five seconds.
    """
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 4


def waited(chat: Callable[[], str | None]) -> float:
    """The seconds that an answer took, whose message could not be kept."""
    begin = time.monotonic()
    assert chat() is None
    return time.monotonic() - begin


def suffer(
    chat: Chat,
    fault: AbstractContextManager[Any],
    complaints: Callable[[], list[str]],
    remedy: str,
    *,
    from_the_start: bool = False,
) -> None:
    """Go through an outage and see all that is promised."""
    with capture_feedback(chat.app) as events:
        before = None if from_the_start else chat.chat()
        if before:
            assert chat.rate(before, "bad") == 202
        with fault:
            with soon():
                assert chat.chat() is None
            assert min(waited(chat.chat) for _ in range(4)) < TIMEOUT, "each waits, not the first"
            with soon():
                assert chat.rate(before or "made before") == 503
            assert "good" not in {event["rating"] for event in events}
        after = wait_until(chat.chat, "stashing again")
        for message_id, revision in ((after, 1), (before, 2)):
            if message_id:
                wait_until(lambda: chat.rate(message_id) in (200, 202), "a vote")  # noqa: B023  # called at once
                assert {
                    event["revision"]
                    for event in events
                    if (event["message_id"], event["rating"]) == (message_id, "good")
                } == {revision}
        # A node of a cluster is back once something is asked of it.
        wait_until(lambda: chat.chat() and missed(complaints), "what was missed to be logged")
    logged = kept_out(complaints)
    assert 1 <= len(logged) <= 3, logged  # such as one for connecting, one for reading
    assert remedy in "".join(logged)
    assert PASSWORD not in "".join(complaints() + chat.answers)


def missed(complaints: Callable[[], list[str]]) -> bool:
    """Whether the log says how many messages were not kept, and how many votes refused."""
    said = r"is back\. In \d+ s, (\d+) messages were not kept, and (\d+) votes refused\."
    found = [map(int, numbers) for numbers in re.findall(said, "\n".join(complaints()))]
    return bool(found) and all(sum(each) for each in zip(*found, strict=True))


@contextmanager
def failing(store: Store, *methods: str) -> Iterator[None]:
    """Have methods of a store fail as they do while it is down."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise StoreUnavailable("Gone", "Start it.")

    with pytest.MonkeyPatch.context() as patch:
        for method in methods:
            patch.setattr(store, method, fail)
        yield


def kept_out(complaints: Callable[[], list[str]]) -> list[str]:
    """The lines that say why nothing is kept."""
    return [line for line in complaints() if line.startswith("Feedback cannot be kept.")]


def with_password(url: str) -> str:
    return url.replace("//", f"//app:{PASSWORD}@")


# A Redis server, behind a network that can fail


class Site:
    """A server for one file of tests, whose `app` user reaches it over a proxy."""

    def __init__(self, server: RedisServer, proxy: Proxy, users: Path) -> None:
        self.server, self.proxy, self.users = server, proxy, users
        self.url = f"redis://app:{PASSWORD}@127.0.0.1:{proxy.port}/0"

    @contextmanager
    def told(self, command: str, back: str) -> Iterator[None]:
        """Have the server execute a command, and another one in the end."""
        with self.server.client() as admin:
            admin.execute_command(*command.split())
            with suppress(redis.ResponseError):  # there may be none
                admin.execute_command("CLIENT", "KILL", "USER", "app")
            try:
                yield
            finally:
                admin.execute_command(*back.split())


# Fixtures


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the blueprint has logged; the runbook says of each line what to do."""
    caplog.set_level(logging.INFO)

    def logged() -> list[str]:
        records = caplog.get_records("call")  # at the end of the test, too
        return [r.getMessage() for r in records if "feedback" in r.name]

    yield logged
    assert [line for line in logged() if not is_quoted(line)] == []


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "users.acl"
    path.write_text(USERS)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, users: Path) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("redis")
    with (
        needed(),
        RedisServer(directory, **DURABLE, aclfile=users) as server,
        Proxy(server.port) as proxy,
    ):
        yield Site(server, proxy, users)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, users: Path) -> Iterator[RedisCluster]:
    """A cluster of which each node can be out while the others serve."""
    directory = tmp_path_factory.mktemp("cluster")
    options = DURABLE | {"aclfile": users, "cluster_require_full_coverage": "no"}
    with needed(), RedisCluster(directory, **options) as running:
        yield running


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, users: Path
) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("secure")
    with needed(), RedisServer(directory, tls=certificate, aclfile=users) as server:
        yield server
