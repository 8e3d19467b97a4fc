"""Every way in which a store fails: the chat goes on, a vote is refused, and then all is well.

The stores are real and so are the faults. How long each of them costs is measured by
benchmarks/outages.py; here a bound is only wide enough to tell one timeout from one a request.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from certificates import Certificate
from conftest import needed
from flask import Flask
from processes import free_port, wait_until
from proxy import Proxy
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import RedisServer

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.errors import ConfigurationError
from feedback_blueprint.testing import capture_feedback

TIMEOUT = 0.25
PASSWORD = "a-password-that-nobody-may-read"
USERS = f"user default on nopass ~* &* +@all\nuser app on >{PASSWORD} ~* &* +@all\n"


# An app, and what its users see of an outage


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
        """Have a message made, which always works; its ID, where it can be rated."""
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


@pytest.fixture(autouse=True)
def complaints(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the blueprint has logged."""
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if "feedback" in r.name]


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
            begin = time.monotonic()
            assert [chat.chat() for _ in range(5)] == [None] * 5
            assert time.monotonic() - begin < 2 * TIMEOUT + 1
            begin = time.monotonic()
            assert chat.rate(before or "made before") == 503
            assert time.monotonic() - begin < 2 * TIMEOUT + 1
            assert "good" not in {event["rating"] for event in events}
        after = wait_until(chat.chat, "stashing again", timeout=3)
        for message_id, revision in ((after, 1), (before, 2)):
            if message_id:
                wait_until(lambda: chat.rate(message_id) in (200, 202), "a vote", 3)  # noqa: B023
                assert {
                    event["revision"]
                    for event in events
                    if (event["message_id"], event["rating"]) == (message_id, "good")
                } == {revision}
    logged = complaints()
    assert 1 <= len(logged) <= 2, logged  # such as one for connecting, one for reading
    assert remedy in "".join(logged)
    assert PASSWORD not in "".join(logged + chat.answers)


# A Redis server, behind a network that can fail


class Site:
    """A server of this file's own, whose `app` user reaches it over a proxy."""

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
        RedisServer(directory, append_only=True, aclfile=users) as server,
        Proxy(server.port) as proxy,
    ):
        yield Site(server, proxy, users)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, users: Path) -> Iterator[RedisCluster]:
    """A cluster of which each node can be out while the others serve."""
    directory = tmp_path_factory.mktemp("cluster")
    options = {"append_only": True, "aclfile": users, "cluster_require_full_coverage": "no"}
    with needed(), RedisCluster(directory, **options) as running:
        yield running


Fault = Callable[[Site], AbstractContextManager[Any]]


def memory_is_full(site: Site) -> AbstractContextManager[None]:
    return site.told("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")


def is_a_replica(site: Site) -> AbstractContextManager[None]:
    return site.told("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")


def wants_another_password(site: Site) -> AbstractContextManager[None]:
    return site.told("ACL SETUSER app resetpass >another", f"ACL SETUSER app resetpass >{PASSWORD}")


@contextmanager
def has_an_orphaned_replica(site: Site) -> Iterator[None]:
    with (
        is_a_replica(site),
        site.told(
            "CONFIG SET replica-serve-stale-data no", "CONFIG SET replica-serve-stale-data yes"
        ),
    ):
        yield


@contextmanager
def is_loading(site: Site) -> Iterator[None]:
    """Another server has taken its place, and is still reading its data."""
    with tempfile.TemporaryDirectory() as directory:
        options = {
            "aclfile": site.users,
            "key_load_delay": 200,  # microseconds
            "loading_process_events_interval_bytes": 1024,
        }
        server = RedisServer(Path(directory), **options)
        try:
            server.start()
            server.ask("MSET", *range(40_000))
            server.ask("SAVE")
            server.kill()
            server.launch()
            wait_until(lambda: loads(server), "LOADING")
            with site.proxy.to(server.port):
                yield
        finally:
            server.kill()


def loads(server: RedisServer) -> bool:
    try:
        server.ask("PING")
    except redis.BusyLoadingError:
        return True
    except redis.ConnectionError:
        return False
    raise AssertionError("it has loaded its data already")


@contextmanager
def has_no_slots(site: Site) -> Iterator[None]:
    """Another server has taken its place, that waits to be given slots of a cluster."""
    with tempfile.TemporaryDirectory() as directory:
        options = {"cluster_enabled": "yes", "cluster_port": free_port(), "databases": 1}
        with (
            RedisServer(Path(directory), aclfile=site.users, **options) as server,
            site.proxy.to(server.port),
        ):
            yield


FAULTS: dict[str, tuple[Fault, str]] = {
    "frozen": (lambda site: site.server.frozen(), "overloaded"),
    "packets dropped": (lambda site: site.proxy.dropping(), "network"),
    "answers lost": (lambda site: site.proxy.losing_answers(), "network"),
    "refused": (lambda site: site.proxy.refusing(), "Check that it runs"),
    "wrong password": (wants_another_password, "password in its URL"),
    "read-only": (is_a_replica, "primary"),
    "out of memory": (memory_is_full, "maxmemory"),
    "loading": (is_loading, "loading"),
    "cluster down": (has_no_slots, "slots"),
    "orphaned": (has_an_orphaned_replica, "primary"),
    "too few replicas": (
        lambda site: site.told(
            "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"
        ),
        "NOREPLICAS",
    ),
    "no permission": (
        lambda site: site.told("ACL SETUSER app -@all", "ACL SETUSER app +@all"),
        "Grant",
    ),
    "max clients": (
        lambda site: site.told("CONFIG SET maxclients 1", "CONFIG SET maxclients 10000"),
        "max number of clients",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server(site: Site, complaints: Callable[[], list[str]], fault: str) -> None:
    strike, remedy = FAULTS[fault]
    suffer(Chat(site.url), strike(site), complaints, remedy)


def test_a_server_that_is_out_from_the_start(
    site: Site, complaints: Callable[[], list[str]]
) -> None:
    fault = site.proxy.refusing()
    suffer(Chat(site.url), fault, complaints, "Check that it runs", from_the_start=True)


def test_a_server_that_turned_out_to_be_a_clusters_node(
    site: Site, cluster: RedisCluster, complaints: Callable[[], list[str]]
) -> None:
    """MOVED, with a slot of its own for each key that is another node's."""
    chat = Chat(site.url)
    with capture_feedback(chat.app):
        with site.proxy.to(cluster.nodes[1].port):
            assert None in [chat.chat() for _ in range(30)]
            assert {chat.rate(f"message {number}") for number in range(30)} == {404, 503}
        assert wait_until(chat.chat, "stashing again", timeout=3)
    assert len(complaints()) == 1, complaints()
    assert "redis+cluster://" in complaints()[0]


def test_a_name_that_is_not_found(
    site: Site, complaints: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver is the one thing here that is not real: nobody else's would be asked."""
    known: list[str] = []
    ask = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "redis.example" and not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask("127.0.0.1" if host == "redis.example" else host, *args, **kwargs)

    @contextmanager
    def nameless() -> Iterator[None]:
        yield
        known.append("redis.example")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    chat = Chat(site.url.replace("127.0.0.1", "redis.example"))
    suffer(chat, nameless(), complaints, "host", from_the_start=True)


@pytest.mark.parametrize("kind", ["redis", "redis+cluster", "redis+sentinel"])
def test_a_name_that_cannot_be_one(complaints: Callable[[], list[str]], kind: str) -> None:
    with suppress(ConfigurationError):  # also a fair answer
        chat = Chat(f"{kind}://a..b:6379/{'service/0' if 'sentinel' in kind else 0}")
        with capture_feedback(chat.app):
            assert [chat.chat() for _ in range(3)] == [None] * 3
            assert chat.rate("any") == 503
        assert len(complaints()) == 1
        assert "a..b" in complaints()[0] or "host" in complaints()[0]


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, users: Path
) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("secure")
    with needed(), RedisServer(directory, tls=certificate, aclfile=users) as server:
        yield server


def test_tls_to_a_plain_port(
    site: Site, secure: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    with Proxy(secure.port) as proxy:
        url = secure.url.replace("//", f"//app:{PASSWORD}@").replace(
            str(secure.port), str(proxy.port)
        )
        suffer(Chat(url), proxy.to(site.server.port), complaints, "TLS")


def test_no_tls_to_a_port_that_wants_it(
    site: Site, secure: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    suffer(Chat(site.url), site.proxy.to(secure.port), complaints, "TLS")


def test_a_certificate_of_nobody_known(
    secure: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    chat = Chat(secure.url.partition("?")[0].replace("//", f"//app:{PASSWORD}@"))
    with capture_feedback(chat.app):
        assert [chat.chat() for _ in range(3)] == [None] * 3
        assert chat.rate("any") == 503
    assert len(complaints()) == 1
    assert "certificate" in complaints()[0]


# TLS, where it works


@pytest.mark.parametrize("kind", ["server", "cluster", "sentinel"])
def test_tls(kind: str, certificate: Certificate, tmp_path: Path) -> None:
    with ExitStack() as stack, needed():
        if kind == "server":
            url = stack.enter_context(RedisServer(tmp_path, tls=certificate)).url
        elif kind == "cluster":
            url = stack.enter_context(RedisCluster(tmp_path, size=1, tls=certificate)).url
        else:
            url = stack.enter_context(RedisSentinel(tmp_path, sentinels=1, tls=certificate)).url
        chat = Chat(url)
        with capture_feedback(chat.app) as events:
            message_id = chat.chat()
            assert message_id
            assert chat.rate(message_id) == 202
            assert [event["message_id"] for event in events] == [message_id]


# A cluster, of which one node fails


def with_password(url: str) -> str:
    return url.replace("//", f"//app:{PASSWORD}@")


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_a_node_of_a_cluster(
    cluster: RedisCluster, complaints: Callable[[], list[str]], fault: str
) -> None:
    """What it does not keep goes on as if nothing were."""
    chat = Chat(with_password(cluster.url))
    with capture_feedback(chat.app) as events:
        node = cluster.nodes[1]
        made = [chat.chat() for _ in range(30)]
        assert all(made)
        theirs = [each for each in made if cluster.node_of(f"fb:{each}") is not node]
        its_own = [each for each in made if each not in theirs]
        assert theirs
        assert its_own
        with getattr(node, fault)():
            begin = time.monotonic()
            stashed = [chat.chat() for _ in range(30)]
            assert [each for each in stashed if each]
            assert None in stashed
            assert time.monotonic() - begin < 2 * TIMEOUT + 2
            assert {chat.rate(message_id) for message_id in its_own[:3]} == {503}
            assert {chat.rate(message_id) for message_id in theirs} == {202}
        cluster.wait_ok()
        for message_id in its_own:
            wait_until(lambda: chat.rate(message_id) in (200, 202), "a vote", 3)  # noqa: B023
        assert {event["message_id"] for event in events} >= set(made)
    assert len(complaints()) <= 2, complaints()
    assert PASSWORD not in "".join(complaints() + chat.answers)


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_a_cluster(cluster: RedisCluster, complaints: Callable[[], list[str]], fault: str) -> None:
    @contextmanager
    def struck() -> Iterator[None]:
        with ExitStack() as stack:
            for node in cluster.nodes:
                stack.enter_context(getattr(node, fault)())
            yield
        cluster.wait_ok()

    suffer(Chat(with_password(cluster.url)), struck(), complaints, "Check that")


def test_a_slot_that_moves(cluster: RedisCluster, complaints: Callable[[], list[str]]) -> None:
    """Nothing is refused while it does: redis-py follows."""
    chat = Chat(with_password(cluster.url))
    with capture_feedback(chat.app) as events:
        message_ids = [chat.chat() for _ in range(10)]
        for message_id in message_ids:
            with cluster.moving(f"fb:{message_id}"):
                assert chat.rate(message_id) == 202
        assert [event["message_id"] for event in events] == message_ids
    assert complaints() == []


# Sentinel


def test_a_primary(users: Path, complaints: Callable[[], list[str]], tmp_path: Path) -> None:
    """For less time than a failover takes."""
    with needed(), RedisSentinel(tmp_path, down_after_ms=30_000, aclfile=users) as sentinel:
        chat = Chat(with_password(sentinel.url))
        suffer(chat, sentinel.primary.frozen(), complaints, "Check that")


@pytest.mark.parametrize("fault", ["frozen", "down"])
def test_all_sentinels(complaints: Callable[[], list[str]], tmp_path: Path, fault: str) -> None:
    with needed(), RedisSentinel(tmp_path, down_after_ms=30_000) as sentinel:

        @contextmanager
        def struck() -> Iterator[None]:
            with ExitStack() as stack:
                for each in sentinel.sentinels:
                    stack.enter_context(getattr(each, fault)())
                yield

        suffer(Chat(sentinel.url), struck(), complaints, "Check that", from_the_start=True)


def test_who_has_a_primary_needs_no_sentinel(
    complaints: Callable[[], list[str]], tmp_path: Path
) -> None:
    with needed(), RedisSentinel(tmp_path) as sentinel:
        chat = Chat(sentinel.url)
        with capture_feedback(chat.app):
            message_id = chat.chat()
            for each in sentinel.sentinels:
                each.kill()
            assert message_id
            assert chat.rate(message_id) == 202
    assert complaints() == []


# SQLite


HOLD_LOCKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process is writing, and does not come to an end."""
    command = [sys.executable, "-c", HOLD_LOCKED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


@contextmanager
def no_bytes_left(_: Path) -> Iterator[None]:
    """This process may write to no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("fault", "remedy"), [(locked, "locked"), (no_bytes_left, "disk")], ids=["locked", "no-bytes"]
)
def test_a_file(
    tmp_path: Path,
    complaints: Callable[[], list[str]],
    fault: Callable[[Path], AbstractContextManager[None]],
    remedy: str,
) -> None:
    path = tmp_path / "feedback.db"
    suffer(Chat(sqlite_url(path)), fault(path), complaints, remedy)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, where this user can make one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can make a small disk")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk(small_disk: Path, complaints: Callable[[], list[str]]) -> None:
    @contextmanager
    def filled() -> Iterator[None]:
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as output, suppress(OSError):
            while True:
                output.write(bytes(1024))
        yield
        filler.unlink()

    suffer(Chat(sqlite_url(small_disk / "feedback.db")), filled(), complaints, "Make room")


def test_a_folder_that_is_a_file(tmp_path: Path, complaints: Callable[[], list[str]]) -> None:
    folder = tmp_path / "folder"

    @contextmanager
    def in_the_way() -> Iterator[None]:
        folder.write_text("a file")
        yield
        folder.unlink()

    chat = Chat(sqlite_url(folder / "feedback.db"))
    suffer(chat, in_the_way(), complaints, "folder", from_the_start=True)


@pytest.mark.parametrize("exists", [False, True], ids=["no-file-yet", "file"])
def test_a_read_only_folder(complaints: Callable[[], list[str]], exists: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "feedback.db"
        if exists:
            earlier = Chat(sqlite_url(path))
            with capture_feedback(earlier.app):
                assert earlier.chat()
            del earlier

        @contextmanager
        def read_only() -> Iterator[None]:
            modes = [(each, each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())]
            for each, _ in modes:
                each.chmod(0o555 if each.is_dir() else 0o444)
            if is_root := os.geteuid() == 0:  # who may write anywhere
                os.seteuid(65534)
            try:
                yield
            finally:
                if is_root:
                    os.seteuid(0)
                for each, mode in modes:
                    each.chmod(mode)

        chat = Chat(sqlite_url(path))
        suffer(chat, read_only(), complaints, "writable", from_the_start=True)


def database(path: Path) -> None:
    chat = Chat(sqlite_url(path))
    with capture_feedback(chat.app):
        for _ in range(200):
            chat.chat()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def nonsense(path: Path) -> None:
    path.write_bytes(b"what somebody else wrote, and still needs " * 1000)


def torn(path: Path) -> None:
    """A database whose first page is whole, and no other."""
    database(path)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))


def cut_short(path: Path) -> None:
    database(path)
    with path.open("rb+") as file:
        file.truncate(5000)


def somebody_elses(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE messages (text)")
        connection.execute("INSERT INTO messages VALUES ('theirs')")


def another_version(path: Path) -> None:
    """A later version of ours, or an app's own that counts its migrations."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE users (name)")
        connection.execute("PRAGMA user_version = 7")


@pytest.mark.parametrize("damage", [nonsense, torn, cut_short, somebody_elses, another_version])
def test_a_file_that_is_not_ours_is_left_as_it_is(
    tmp_path: Path, complaints: Callable[[], list[str]], damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "feedback.db"
    damage(path)
    for extra in tmp_path.glob("feedback.db-*"):
        extra.unlink()
    content = path.read_bytes()

    @contextmanager
    def damaged() -> Iterator[None]:
        yield
        assert path.read_bytes() == content
        path.rename(tmp_path / "moved away")

    chat = Chat(sqlite_url(path))
    suffer(chat, damaged(), complaints, "Move the file away", from_the_start=True)
