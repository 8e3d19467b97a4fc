"""The runbook beside the stores: its commands are run, and what it quotes is what is said."""

from __future__ import annotations

import ast
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from chatting import made, rate
from collector import Collector
from documentation import PACKAGE, block, run
from gunicorn_server import APPS, StartServer
from needed import needed
from outage import Chat
from processes import ToolMissingError, wait_until
from redis_cluster import RedisCluster
from redis_server import DURABLE, RedisServer
from runbook import LINES, METRICS, RUNBOOK, pattern_of
from traffic import WORKERS, Traffic

from feedback_blueprint.stores.redis import errors as redis_errors
from feedback_blueprint.stores.sqlite import client as sqlite_client
from feedback_blueprint.testing import capture_feedback

# Commands that look


def test_the_check_runs_as_two_pages_write_it(collector: Collector, tmp_path: Path) -> None:
    check = block("stores", "sh", "feedback check")
    assert block("README", "sh", "feedback check") == check
    env = collector.environ({"startup_timeout": 10})
    env |= {"FLASK_APP": "chat", "FLASK_FEEDBACK_STORE_URL": f"sqlite:///{tmp_path}/f.sqlite3"}
    assert "✓ store" in run(check, APPS, env | {"FLASK_FEEDBACK_STORE_TIMEOUT": "5"})


# Back up, restore, move


class Kept:
    """What users were told is kept, at one time: votes, and messages that nobody rated."""

    def __init__(self, traffic: Traffic) -> None:
        self.unrated = made(traffic.server)
        self.votes = dict(traffic.accepted)
        assert len(self.votes) > 20

    def assert_in(self, store_url: str) -> None:
        """All votes read back, and all messages can be rated, by an app that is started now."""
        chat = Chat(store_url)
        message_ids = list(self.votes)
        for first in range(0, len(message_ids), 100):
            some = message_ids[first : first + 100]
            read = chat.client.get("/feedback", query_string={"message_id": some}).json
            votes = {
                each["message_id"]: (each["feedback_id"], each["revision"])
                for each in read["feedback"]
            }
            assert votes == {message_id: self.votes[message_id] for message_id in some}
        with capture_feedback(chat.app) as events:
            for message_id in [*self.votes, self.unrated]:
                assert chat.rate(message_id, "bad") == 202
        changed = {each["message_id"]: (each["feedback_id"], each["revision"]) for each in events}
        assert changed.pop(self.unrated)[1] == 1
        assert changed == {
            message_id: (feedback_id, revision + 1)
            for message_id, (feedback_id, revision) in self.votes.items()
        }


def assert_unknown(store_url: str, message_id: str) -> None:
    """It was made after the backup, so it is in what was to be replaced."""
    chat = Chat(store_url)
    with capture_feedback(chat.app):
        assert chat.rate(message_id) == 404


def votes_go_on(traffic: Traffic) -> None:
    taken = traffic.taken
    wait_until(lambda: traffic.taken > taken + 20, "more votes")


def test_a_sqlite_file_is_backed_up_while_the_app_writes_and_restored(
    chat_server: StartServer, collector: Collector, tmp_path: Path
) -> None:
    """The app is killed: what it leaves beside its file would break the backup."""
    url = f"sqlite:///{tmp_path}/instance/feedback.sqlite3"
    with chat_server(store_url=url, **WORKERS) as server:
        traffic = Traffic(server, collector)
        with traffic.going_on():
            votes_go_on(traffic)
            kept = Kept(traffic)
            run(block("stores", "sh", "VACUUM INTO"), tmp_path)
            votes_go_on(traffic)
        later = made(server)
        server.kill()
    assert stat.S_IMODE((tmp_path / "backup.sqlite3").stat().st_mode) == 0o600
    assert (tmp_path / "instance" / "feedback.sqlite3-wal").stat().st_size
    run(block("stores", "sh", "rm -f instance/feedback.sqlite3-wal"), tmp_path)
    kept.assert_in(url)
    assert_unknown(url, later)


@pytest.fixture
def redis_cli() -> None:
    with needed():
        if not shutil.which("redis-cli"):
            raise ToolMissingError("no redis-cli: install it")


@pytest.fixture
def new_redis(
    tmp_path_factory: pytest.TempPathFactory, redis_cli: None
) -> Iterator[Callable[[], RedisServer]]:
    """Ask for a server with an append-only file, that is not running."""
    servers = []

    def new() -> RedisServer:
        servers.append(RedisServer(tmp_path_factory.mktemp("redis"), **DURABLE))
        return servers[-1]

    with needed():
        yield new
        for server in servers:
            server.kill()


def at(server: RedisServer) -> str:
    return f"redis-cli -h 127.0.0.1 -p {server.port}"


def test_a_redis_is_backed_up_while_the_app_writes_and_restored(
    chat_server: StartServer,
    collector: Collector,
    new_redis: Callable[[], RedisServer],
    tmp_path: Path,
) -> None:
    redis = new_redis()
    redis.start()
    hosts: Any = {"redis-cli -h old": at(redis), "/var/lib/redis": str(redis.directory)}
    with chat_server(store_url=redis.url, **WORKERS) as server:
        traffic = Traffic(server, collector)
        with traffic.going_on():
            votes_go_on(traffic)
            kept = Kept(traffic)
            run(block("stores", "sh", "--rdb"), tmp_path, **hosts)
            votes_go_on(traffic)
        later = made(server)
    assert stat.S_IMODE((tmp_path / "backup.rdb").stat().st_mode) == 0o600
    redis.kill()
    run(block("stores", "sh", "cp backup.rdb"), tmp_path, **hosts)
    redis.append_only = False
    redis.start()
    run(block("stores", "sh", "CONFIG SET appendonly yes"), tmp_path, **hosts)
    redis.kill()
    redis.append_only = True
    redis.start()
    kept.assert_in(redis.url)
    assert_unknown(redis.url, later)


def test_one_redis_takes_the_place_of_another_while_the_app_writes(
    chat_server: StartServer,
    collector: Collector,
    new_redis: Callable[[], RedisServer],
    tmp_path: Path,
) -> None:
    old, new = new_redis(), new_redis()
    old.start()
    new.start()
    hosts: Any = {
        "redis-cli -h old": at(old),
        "redis-cli -h new": at(new),
        "REPLICAOF old 6379": f"REPLICAOF 127.0.0.1 {old.port}",
    }
    with chat_server(store_url=old.url, **WORKERS) as server:
        traffic = Traffic(server, collector)
        with traffic.going_on():
            votes_go_on(traffic)
            kept = Kept(traffic)
            votes_go_on(traffic)
            run(block("stores", "sh", "REPLICAOF"), tmp_path, **hosts)
            assert rate(server, kept.unrated).status == 503, "the old one takes no more"
    assert len(traffic.accepted) > len(kept.votes)
    kept.votes = traffic.accepted
    old.kill()
    kept.assert_in(new.url)


def test_a_redis_is_copied_into_a_cluster(
    chat_server: StartServer,
    collector: Collector,
    new_redis: Callable[[], RedisServer],
    redis_cluster: RedisCluster,
) -> None:
    redis, url = new_redis(), redis_cluster.fresh_url()
    redis.start()
    collector.clear()
    with chat_server(store_url=redis.url, **WORKERS) as server:
        traffic = Traffic(server, collector)
        with traffic.going_on():
            votes_go_on(traffic)
        kept = Kept(traffic)
        server.kill()  # with votes that its agent did not send
    env = collector.environ({"startup_timeout": 10})
    env |= {"FLASK_APP": "chat", "FLASK_FEEDBACK_STORE_URL": redis.url}
    assert run(block("stores", "sh", "feedback deliver"), APPS, env).endswith("\n0 undelivered\n")
    traffic.assert_nothing_lost()
    copy = block("stores", "python", "scan_iter")
    copy = copy.replace("redis://old:6379/0", redis.url)
    copy = copy.replace("redis://new:6379", f"redis://{redis_cluster.nodes[0].address}")
    subprocess.run([sys.executable, "-c", copy], check=True, timeout=120)
    left = redis.ask("PTTL", f"fb:{kept.unrated}")
    assert 0 < redis_cluster.node_of(f"fb:{kept.unrated}").ask("PTTL", f"fb:{kept.unrated}") <= left
    redis.kill()
    kept.assert_in(url)


def test_an_app_that_keeps_the_old_store_takes_votes_on_what_was_made_before(
    new_store_url: Callable[[str], str],
) -> None:
    old, new = Chat(new_store_url("sqlite")), Chat(new_store_url("redis"))
    with capture_feedback(old.app) as before, capture_feedback(new.app) as after:
        made_before, made_after = old.chat(), new.chat()
        assert made_before
        assert made_after
        assert new.rate(made_before) == 404
        assert (old.rate(made_before), new.rate(made_after)) == (202, 202)
    assert [event["message_id"] for event in (*before, *after)] == [made_before, made_after]


# What it says


SOURCES = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]


@cache
def constants() -> set[str]:
    """Each text of the package's."""
    return {
        node.value
        for source in SOURCES
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


KEPT_OUT = "Feedback cannot be kept. "
"""How the lines begin that have a store's own error and remedy after it."""


def texts_of(value: Any) -> Iterator[str]:
    """The texts in a constant of a module."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts_of([*value, *value.values()])
    elif isinstance(value, Sequence):
        for each in value:
            yield from texts_of(each)


REMEDIES = {
    text for module in (redis_errors, sqlite_client) for text in texts_of([*vars(module).values()])
}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(KEPT_OUT)])
def test_a_remedy_that_is_quoted_is_one_of_a_stores(line: str) -> None:
    """What is around it is compared, whole, with what the tests of outages provoke."""
    remedy = re.split(r"\.\.\.:? (?=.)", line.removesuffix(" ..."))[-1]
    known = REMEDIES | constants()
    for sentence in re.split(r"[.:] |[.:]$", remedy):
        assert any(sentence in text for text in known), sentence


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith(KEPT_OUT)])
def test_a_line_that_is_quoted_is_one_of_ours(line: str) -> None:
    """With its numbers and names, and without what is left out of it."""
    placeholder = re.compile(r"%[.\d]*[a-z]")
    for text in constants():
        begins, *others = map(re.escape, placeholder.split(text))
        if len("".join([begins, *others])) > 10 and (
            re.fullmatch(pattern_of(line), text)
            or (others and re.fullmatch(".+".join([begins, *others]), line))
        ):
            return
    pytest.fail("no text of the package's is like it")


def test_what_is_quoted_of_the_check_is_what_it_looks_at() -> None:
    named = set(re.findall(r"`[✗!✓] ([^`]+)`", RUNBOOK))
    assert named
    assert named <= set(re.findall(r'Finding\(\s*"([^"]+)"', "".join(SOURCES)))


def test_each_metric_is_in_the_table() -> None:
    told = set(re.findall(r"`Custom/Feedback/(\w+)`", RUNBOOK))
    assert told == METRICS
    alerts = RUNBOOK.partition("Alert on")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", alerts)) <= told
