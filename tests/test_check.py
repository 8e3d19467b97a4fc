"""`flask feedback check`, run as the app is: under the real agent, on a real Redis."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import newrelic
import pytest
from collector import Collector
from host_app import make_app
from needed import needed
from outage import Chat
from processes import environment, wait_until
from proxy import Proxy
from redis_server import RedisServer
from stand_in import Process
from under_agent import ended

from feedback_blueprint import FeedbackBlueprint, checks
from feedback_blueprint.model import ANYONE, Finding, Keys, Message, VoteRequest
from feedback_blueprint.stores import RedisStore, SQLiteStore, store_from_url
from feedback_blueprint.stores.redis import checks as redis_checks
from feedback_blueprint.stores.sqlite import files
from feedback_blueprint.testing import capture_feedback


@pytest.fixture(scope="module")
def good_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    options = {"maxmemory": "64mb", "maxmemory_policy": "volatile-ttl"}
    directory = tmp_path_factory.mktemp("redis")
    with needed(), RedisServer(directory, append_only=True, **options) as server:
        yield server


COMMAND = "-m", "flask", "--app", "chat", "feedback", "check"


def run_under_agent(
    collector: Collector,
    store_url: str,
    *command: str,
    store_timeout: float = 5,  # that a machine is busy is not a finding
    **settings: Any,
) -> Any:
    """Run a Python program under the agent, and return how it ended."""
    environ = collector.environ({"startup_timeout": 10} | settings)
    environ["FLASK_FEEDBACK_STORE_URL"] = store_url
    environ["FLASK_FEEDBACK_STORE_TIMEOUT"] = str(store_timeout)
    return ended(command, environ)


def check(collector: Collector, store_url: str, **settings: Any) -> tuple[int, dict[str, Any]]:
    """Run the command, and return its exit status and what it found."""
    texts = {"ai_monitoring.enabled": True, "ai_monitoring.record_content.enabled": False}
    done = run_under_agent(collector, store_url, *COMMAND, "--json", **(texts | settings))
    assert done.stdout, done.stderr
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def run_command(url: str, *command: str, store_timeout: float = 5) -> Any:
    """Run a command in this process, whose agent does not run: for what is said of the store."""
    config = {"FEEDBACK_STORE_URL": url, "FEEDBACK_STORE_TIMEOUT": store_timeout}
    app = make_app(FeedbackBlueprint(), **config)
    return app.test_cli_runner().invoke(args=["feedback", *command])


def check_store(url: str, **options: float) -> dict[str, Any]:
    """What the command finds, run in this process."""
    found = json.loads(run_command(url, "check", "--json", **options).stdout)
    return {finding["what"]: finding for finding in found}


def found_by(store: RedisStore | SQLiteStore) -> dict[str, Finding]:
    return {finding.what: finding for finding in store.check("fb:")}


def redis_store(url: str) -> RedisStore:
    return RedisStore.from_url(url, timeout=5)


def test_the_exit_status_is_0_if_all_is_well(collector: Collector, good_redis: RedisServer) -> None:
    status, found = check(collector, good_redis.url)
    assert {finding["severity"] for finding in found.values()} == {"well"}
    assert status == 0
    assert {finding["remedy"] for finding in found.values()} == {""}
    assert found.keys() == {
        *("agent", "registered with New Relic", "custom events"),
        *("bytes of one value", "size of a harvest", "AI monitoring"),
        *("startup_timeout", "this process sends", "harvests", "kept in", "store", "Redis"),
        *("memory limit and eviction", "persistence", "replication", "memory left"),
        *("protected mode", "undelivered votes"),
    }
    seen = {what: finding["seen"] for what, finding in found.items()}
    assert seen["agent"] == newrelic.version
    assert seen["registered with New Relic"] == "tests"
    assert seen["custom events"] == "on, 3600 per process every 0.1 s"
    assert seen["bytes of one value"] == "255"
    assert seen["size of a harvest"] == "1,000,000 bytes, 277 an event"
    assert seen["kept in"] == f"redis://{good_redis.address}/0, by FEEDBACK_STORE_URL"
    assert seen["this process sends"] == "yes"
    assert (seen["harvests"], seen["undelivered votes"]) == ("visible", "none")
    assert (seen["AI monitoring"], seen["startup_timeout"]) == ("on", "10 s")
    assert seen["replication"] == "a primary, 0 replicas"


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
    severities = {what: finding["severity"] for what, finding in found.items()}
    assert {what for what, severity in severities.items() if severity == "wrong"} == {
        *("custom events", "bytes of one value"),
    }
    assert {what for what, severity in severities.items() if severity == "worth changing"} == {
        *("startup_timeout", "memory limit and eviction", "persistence"),
    }, "high security switches AI monitoring off, and no remedy names that"
    assert all(found[what]["remedy"] for what in severities if severities[what] != "well")
    assert found["custom events"]["seen"] == "off"
    assert found["custom events"]["remedy"].startswith("High security mode drops custom events")


def test_what_is_only_worth_changing_is_not_a_failure(collector: Collector, tmp_path: Path) -> None:
    """With prompts and replies, 3,600 events in one harvest can be larger than New Relic takes."""
    status, found = check(
        collector,
        f"sqlite:///{tmp_path}/feedback.db",
        startup_timeout=0,
        **{"ai_monitoring.record_content.enabled": True},
    )
    minor = {what for what, finding in found.items() if finding["severity"] == "worth changing"}
    assert minor == {"startup_timeout", "size of a harvest"}
    assert "record_content.enabled = false" in found["size of a harvest"]["remedy"]
    assert status == 0


def test_a_store_that_takes_over_half_its_timeout_is_not_well(good_redis: RedisServer) -> None:
    with Proxy(good_redis.port) as proxy, proxy.slow(delay=0.1):
        url = f"redis://127.0.0.1:{proxy.port}/0"
        slow = check_store(url, store_timeout=0.35)["store"]
        assert slow["severity"] == "wrong"
        assert "FEEDBACK_STORE_TIMEOUT" in slow["remedy"]
        assert check_store(url, store_timeout=10)["store"]["severity"] == "well"


@pytest.mark.parametrize("message_id", ["!check", "!check:"])
def test_no_message_is_in_the_way_of_the_vote_that_a_check_casts(
    redis_server: RedisServer, message_id: str
) -> None:
    url = redis_server.fresh_url()
    key, message = Keys("fb:", "").of(message_id), Message("0" * 32)
    assert redis_store(url).stash(key, message, timedelta(days=1))
    assert check_store(url)["store"]["severity"] == "well"


def test_a_new_relic_that_does_not_answer_is_wrong_and_what_waits_is_counted(
    collector: Collector, tmp_path: Path
) -> None:
    """It is then that one asks what waits."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    store = store_from_url(url, timeout=5, instance_path="", key="KEY")
    store.stash("fb:m", Message("0" * 32), timedelta(days=1))
    store.vote("fb:m", [ANYONE], VoteRequest(b"[1]", 20, "fb:!outbox:tests"))
    with collector.held():
        status, found = check(collector, url, startup_timeout=1)
    assert status == 1
    assert found["registered with New Relic"]["severity"] == "wrong"
    assert found["undelivered votes"]["seen"].startswith("1, the oldest for ")
    assert found["SQLite file"]["severity"] == "well"


def test_an_agent_that_reports_nothing_is_all_that_is_said_of_it(
    collector: Collector, tmp_path: Path
) -> None:
    status, found = check(collector, f"sqlite:///{tmp_path}/feedback.db", monitor_mode=False)
    assert status == 1
    assert found["agent"]["severity"] == "wrong"
    assert "monitor_mode" in found["agent"]["remedy"]
    assert found.keys() - {"file system"} == {"agent", "kept in", "store", "SQLite file"}


def test_developer_mode_sends_nothing(collector: Collector, tmp_path: Path) -> None:
    status, found = check(collector, f"sqlite:///{tmp_path}/feedback.db", developer_mode=True)
    assert status == 1
    wrong = [what for what, finding in found.items() if finding["severity"] == "wrong"]
    assert wrong == ["registered with New Relic"]
    assert "unset NEW_RELIC_DEVELOPER_MODE" in found[wrong[0]]["remedy"]


FORKED = """
import os, newrelic.agent
from chat import app
newrelic.agent.register_application(timeout=10)
if child := os.fork():
    os.waitpid(child, 0)
else:
    found = app.test_cli_runner().invoke(args=["feedback", "check", "--json"])
    print(found.output, flush=True)
    os._exit(0)
"""


def test_an_agent_that_was_started_before_a_fork_sends_nothing(
    collector: Collector, tmp_path: Path
) -> None:
    done = run_under_agent(collector, f"sqlite:///{tmp_path}/feedback.db", "-c", FORKED)
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["registered with New Relic"]["severity"] == "well"
    assert found["this process sends"]["severity"] == "wrong"
    assert "before the fork" in found["this process sends"]["remedy"]


# Redis


@pytest.fixture
def tell(good_redis: RedisServer) -> Iterator[Callable[[str, object], None]]:
    """Set what the server does, for one test."""
    before: dict[str, Any] = {}

    def tell(name: str, value: object) -> None:
        before.setdefault(name, good_redis.ask("CONFIG", "GET", name)[name.encode()])
        good_redis.ask("CONFIG", "SET", name, value)

    yield tell
    for name, value in before.items():
        good_redis.ask("CONFIG", "SET", name, value)


def test_little_memory_left_is_worth_changing(
    good_redis: RedisServer, tell: Callable[[str, object], None]
) -> None:
    store = redis_store(good_redis.url)
    assert found_by(store)["memory left"].severity == "well"
    tell("maxmemory", int(good_redis.info("memory")["used_memory"] / 0.8))
    left = found_by(store)["memory left"]
    assert left.severity == "worth changing"
    assert 0 <= int(left.seen.removesuffix("%")) <= 25


@pytest.mark.parametrize(
    ("policy", "severity"),
    [
        ("volatile-ttl", "well"),
        ("noeviction", "worth changing"),
        ("volatile-lru", "worth changing"),
        ("allkeys-lru", "wrong"),
    ],
)
def test_a_policy_that_evicts_undelivered_votes_is_wrong(
    good_redis: RedisServer, tell: Callable[[str, object], None], policy: str, severity: str
) -> None:
    tell("maxmemory-policy", policy)
    found = found_by(redis_store(good_redis.url))["memory limit and eviction"]
    assert found.severity == severity
    assert ("undelivered votes" in found.remedy) == (severity == "wrong")


def test_a_server_that_is_open_to_all_is_worth_a_password(
    good_redis: RedisServer, tell: Callable[[str, object], None]
) -> None:
    assert found_by(redis_store(good_redis.url))["protected mode"].severity == "well"
    tell("protected-mode", "no")
    found = found_by(redis_store(good_redis.url))["protected mode"]
    assert (found.severity, "password" in found.remedy) == ("worth changing", True)
    good_redis.ask("ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "+@all")
    url = good_redis.url.replace("//", "//app:secret@")
    assert "protected mode" not in found_by(redis_store(url)), "it has a password"
    good_redis.ask("ACL", "SETUSER", "default", "-config")
    try:
        assert "protected mode" not in found_by(redis_store(good_redis.url)), "it does not tell"
    finally:
        good_redis.ask("ACL", "SETUSER", "default", "+@all")


def test_a_primary_that_waits_for_replicas_is_wrong(
    good_redis: RedisServer, tell: Callable[[str, object], None]
) -> None:
    tell("min-replicas-to-write", 1)
    found = check_store(good_redis.url)
    assert found["store"]["severity"] == "wrong"
    assert "NOREPLICAS" in found["store"]["seen"]
    assert found["replication"]["seen"] == "a primary, 0 replicas"


def test_a_replica_takes_no_votes_and_one_that_is_behind_would_lose_them(
    good_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = redis_store(good_redis.url)
    with RedisServer(tmp_path, replicaof=f"127.0.0.1 {good_redis.port}") as replica:

        def of_primary() -> Finding:
            return found_by(store)["replication"]

        wait_until(lambda: of_primary().seen == "a primary, 1 replicas", "the replica")
        wait_until(lambda: of_primary().ok, "its link")
        at_replica = redis_store(replica.url)

        def of_replica() -> Finding:
            return found_by(at_replica)["replication"]

        up = "a replica, whose link to its primary is up"
        wait_until(lambda: of_replica().seen == up, "the link, as the replica sees it")
        assert of_replica().severity == "wrong"
        monkeypatch.setattr(redis_checks, "MAX_LAG", 1)
        with replica.frozen():
            wait_until(lambda: not of_primary().ok, "the replica's lag")
            behind = of_primary()
            assert behind.severity == "worth changing"
            assert behind.seen == "a primary, 1 replicas, 1 of them behind"


def test_a_check_of_a_replica_says_what_it_is(good_redis: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path, replicaof=f"127.0.0.1 {good_redis.port}") as replica:
        found = check_store(replica.url)
    wrong = {what for what, finding in found.items() if finding["severity"] == "wrong"}
    assert wrong == {"agent", "store", "replication"}
    assert found["store"]["remedy"] == found["replication"]["remedy"]


# SQLite


FILE_SYSTEM = "feedback_blueprint.stores.sqlite.store.file_system"


def mounted(tmp_path: Path, kind: str) -> Path:
    """A table in which a file system of one kind is at `tmp_path / "a b"`."""
    table = tmp_path / "mounts"
    place = str(tmp_path / "a b").replace(" ", "\\040")
    lines = ["/dev/vda / ext4 rw 0 0", f"/dev/vdb {tmp_path} xfs rw 0 0"]
    lines += [f"server:/export {place} ext4 rw 0 0", f"server:/export {place} {kind} rw,vers=4 0 0"]
    table.write_text("\n".join([*lines, f"tmpfs {tmp_path}/a tmpfs rw 0 0", ""]))
    return table


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        *((kind, "wrong") for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph")),
        *((kind, "well") for kind in ("ext4", "overlay", "fuse.fuse-overlayfs", "nfsd", "btrfs")),
    ],
)
def test_a_file_on_a_network_file_system_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, severity: str
) -> None:
    monkeypatch.setattr(FILE_SYSTEM, partial(files.file_system, table=mounted(tmp_path, kind)))
    store = SQLiteStore(tmp_path / "a b" / "feedback.db", timeout=5)
    found = found_by(store)["file system"]
    assert (found.severity, found.seen) == (severity, kind)
    assert "Redis" in found.remedy
    beside = found_by(SQLiteStore(tmp_path / "feedback.db", timeout=5))["file system"]
    assert (beside.severity, beside.seen) == ("well", "xfs")


def test_the_file_system_is_found_through_a_link_or_not_at_all(tmp_path: Path) -> None:
    table = mounted(tmp_path, "nfs")
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    assert files.file_system(tmp_path / "link" / "feedback.db", table) == "nfs"
    assert files.file_system(tmp_path / "abc", table) == "xfs"
    assert files.file_system(tmp_path, tmp_path / "no table") is None


@pytest.mark.skipif(not files.MOUNTS.exists(), reason="only Linux tells what is mounted")
def test_what_linux_says_is_mounted_is_understood() -> None:
    assert files.file_system(Path("/proc/self")) == "proc"


def test_nothing_is_said_if_nothing_tells_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FILE_SYSTEM, partial(files.file_system, table=tmp_path / "no table"))
    assert found_by(SQLiteStore(tmp_path / "f.db", timeout=5)).keys() == {"SQLite file"}


def test_only_a_full_check_reads_all_of_a_file(tmp_path: Path) -> None:
    """As that takes minutes: here a page is broken that nothing else reads."""
    path = tmp_path / "feedback.db"
    store = SQLiteStore(path, timeout=5)
    store.stash("fb:m", Message("0" * 32), timedelta(days=1))
    with store._connected() as execute:
        execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [page] = execute("SELECT rootpage FROM sqlite_master WHERE name = 'announced'").fetchone()
        [size] = execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    url = f"sqlite:///{path}"
    found = check_store(url)["SQLite file"]
    assert found["severity"] == "well"
    assert "messages" not in found["seen"]
    done = run_command(url, "check", "--full")
    assert done.exit_code == 1
    assert "\u2717 SQLite file" in done.stdout
    assert "1 messages" in done.stdout


def test_a_vote_that_waits_for_long_is_a_finding(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()

    def found(age: float) -> Finding:
        clock = SimpleNamespace(
            time=lambda: process.recorded[0]["timestamp"] / 1000 + age,
            perf_counter=time.perf_counter,
        )
        monkeypatch.setattr("feedback_blueprint.checks.time", clock)
        return next(
            each for each in checks.check(process.votes) if each.what == "undelivered votes"
        )

    assert found(0)[:3] == ("undelivered votes", True, "none")
    process.rate(process.stash())
    assert found(299)[:3] == ("undelivered votes", True, "1, the oldest for 299 s")
    assert found(301).ok is False
    assert "run flask feedback deliver" in found(301).remedy


# Another version of this package


def test_a_check_names_a_file_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    SQLiteStore(path, timeout=5).stash("fb:m", Message("0" * 32), timedelta(days=1))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    url = f"sqlite:///{path}"
    found = check_store(url)["store"]
    assert "written by a newer version of feedback_blueprint" in found["seen"]
    assert "Install that version again" in found["remedy"]
    said = run_command(url, "check").stdout
    assert said.count("newer version of feedback_blueprint") == 1, "by each look at the file"
    shown = run_command(url, "show", "m")
    assert "newer version of feedback_blueprint. Install that version again" in shown.stderr


@pytest.mark.parametrize("kind", ["redis", "cluster"])
def test_a_check_names_messages_of_a_newer_version(
    new_store_url: Callable[[str], str], kind: str
) -> None:
    store = redis_store(new_store_url(kind))
    prefix = f"fb[{os.urandom(4).hex()}]:"
    for number in range(20):
        store.stash(f"{prefix}{number}", Message("0" * 32), timedelta(days=1))
        store.stash(f"other:{number}", Message("0" * 32), timedelta(days=1))
    assert not [each for each in store.check(prefix) if each.what.startswith("layout")]
    for number in range(10):
        store._client.setrange(f"{prefix}{number}", 0, b"\7")
        store._client.setrange(f"other:{number}", 0, b"\7")
    store._client.delete(f"{prefix}0")
    store._client.hset(f"{prefix}0", "m", b"\7" * 17)
    found = [each for each in store.check(prefix) if each.what.startswith("layout")]
    assert sum(int(each.seen.split()[0]) for each in found) == 10
    assert sum(int(each.seen.split()[2]) for each in found) <= 20
    assert {each.severity for each in found} == {"wrong"}
    assert "Install that version again" in found[0].remedy


def test_a_vote_on_a_message_of_a_newer_version_is_sent_again_and_the_log_says_why(
    good_redis: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    """As while the app is deployed: another process may know it."""
    chat = Chat(good_redis.fresh_url())
    with capture_feedback(chat.app) as events:
        message_id = chat.chat()
        assert message_id
        with good_redis.client(chat.app.config["FEEDBACK_STORE_URL"]) as client:
            client.setrange(f"fb:{message_id}", 0, b"\7")
        assert chat.rate(message_id) == 503
        assert chat.chat(), "the store is not out"
    assert events == []
    logged, _ = complaints()
    assert "a message was written by a newer version of feedback_blueprint. Install" in logged


# A configuration that cannot work

WRONG = "app.config['FEEDBACK_TTL'] = 0; app.register_blueprint(FeedbackBlueprint())"
MODULE = f"""
from flask import Flask
from feedback_blueprint import FeedbackBlueprint, checks
app = Flask(__name__); {WRONG}
"""
FACTORY = f"""
from flask import Flask
from feedback_blueprint import FeedbackBlueprint, checks
def create_app():
    app = Flask(__name__); {WRONG}
    return app
"""


@pytest.mark.parametrize(("source", "command"), [(MODULE, "feedback check"), (FACTORY, "run")])
def test_a_configuration_that_cannot_work_is_its_sentence(
    tmp_path: Path, source: str, command: str
) -> None:
    assert run_flask(tmp_path, source, command) == (
        1,
        "Error: FEEDBACK_TTL cannot be 0. "
        "Give seconds or a timedelta from one millisecond to ten years.\n",
    )


def test_any_other_error_of_an_app_keeps_its_traceback(tmp_path: Path) -> None:
    status, said = run_flask(tmp_path, "1 / 0", "feedback check")
    assert status == 1
    assert "Traceback" in said
    assert "ZeroDivisionError" in said


def run_flask(tmp_path: Path, source: str, command: str) -> tuple[int, str]:
    """Run a command of an app, and return its exit status and what it says of errors."""
    (tmp_path / "wrong.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wrong", *command.split()],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr
