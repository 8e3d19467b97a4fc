"""Every way in which a Redis server fails: the chat goes on, a vote is refused, then all is well.

The server is real and so are the faults. How long each of them costs is measured by
benchmarks/outages.py; here a bound is only wide enough to tell one timeout from one a request.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from outage import PASSWORD, TIMEOUT, Chat, Site, kept_out, suffer
from processes import free_port, wait_until
from redis_cluster import RedisCluster
from redis_server import RedisServer

from feedback_blueprint.errors import ConfigurationError, StoreUnavailable
from feedback_blueprint.model import Message, VoteRequest
from feedback_blueprint.stores import store_from_url
from feedback_blueprint.testing import capture_feedback

Fault = Callable[[Site], AbstractContextManager[Any]]


def memory_is_full(site: Site) -> AbstractContextManager[None]:
    return site.told("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")


def is_a_replica(site: Site) -> AbstractContextManager[None]:
    return site.told("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")


def wants_another_password(site: Site) -> AbstractContextManager[None]:
    return site.told("ACL SETUSER app resetpass >another", f"ACL SETUSER app resetpass >{PASSWORD}")


@contextmanager
def cannot_save(site: Site) -> Iterator[None]:
    """A folder is where its snapshot should be."""
    folder = site.server.directory / "dump.rdb"
    folder.mkdir()
    site.server.ask("CONFIG", "SET", "save", "3600 1000000")
    site.server.ask("BGSAVE")
    wait_until(
        lambda: site.server.info("persistence")["rdb_last_bgsave_status"] == "err", "an error"
    )
    try:
        yield
    finally:
        site.server.ask("CONFIG", "SET", "save", "")
        folder.rmdir()


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
        "min-replicas-to-write",
    ),
    "no permission": (
        lambda site: site.told("ACL SETUSER app -@all", "ACL SETUSER app +@all"),
        "Grant",
    ),
    "max clients": (
        lambda site: site.told("CONFIG SET maxclients 1", "CONFIG SET maxclients 10000"),
        "Raise its maxclients",
    ),
    "disk is full": (cannot_save, "It cannot write to its disk"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_fails_and_comes_back(
    site: Site, complaints: Callable[[], list[str]], fault: str
) -> None:
    strike, remedy = FAULTS[fault]
    suffer(Chat(site.url), strike(site), complaints, remedy)


def test_a_database_that_does_not_exist_is_named(
    site: Site, complaints: Callable[[], list[str]]
) -> None:
    chat = Chat(site.url.replace("/0", f"/{site.server.databases}"))
    with capture_feedback(chat.app):
        assert [chat.chat() for _ in range(3)] == [None] * 3
        assert chat.rate("any") == 503
    assert len(complaints()) == 1
    assert "Name a database in its URL that it has" in complaints()[0]


def test_a_database_of_a_clusters_node_is_refused_with_the_remedy(
    cluster: RedisCluster, complaints: Callable[[], list[str]]
) -> None:
    chat = Chat(f"redis://{cluster.nodes[0].address}/1")
    with capture_feedback(chat.app):
        assert chat.chat() is None
    assert "redis+cluster://" in complaints()[0]


def test_a_server_that_is_down_from_the_start_costs_no_answer(
    site: Site, complaints: Callable[[], list[str]]
) -> None:
    fault = site.proxy.refusing()
    suffer(Chat(site.url), fault, complaints, "Check that it runs", from_the_start=True)


def test_a_server_that_turns_out_to_be_a_clusters_node_is_named(
    site: Site, cluster: RedisCluster, complaints: Callable[[], list[str]]
) -> None:
    """MOVED, with a slot of its own for each key that is another node's."""
    chat = Chat(site.url)
    with capture_feedback(chat.app):
        with site.proxy.to(cluster.nodes[1].port):
            assert None in [chat.chat() for _ in range(30)]
            assert {chat.rate(f"message {number}") for number in range(30)} == {404, 503}
        assert wait_until(chat.chat, "stashing again")
    assert len(kept_out(complaints)) == 1, complaints()
    assert "redis+cluster://" in complaints()[0]


def test_a_host_that_is_not_found_costs_no_answer(
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
def test_a_name_that_no_host_can_have_costs_no_answer(
    complaints: Callable[[], list[str]], kind: str
) -> None:
    with suppress(ConfigurationError):  # also a fair answer
        chat = Chat(f"{kind}://a..b:6379/{'service/0' if 'sentinel' in kind else 0}")
        with capture_feedback(chat.app):
            assert [chat.chat() for _ in range(3)] == [None] * 3
            assert chat.rate("any") == 503
        assert len(complaints()) == 1
        assert "a..b" in complaints()[0] or "host" in complaints()[0]


def test_reading_back_says_that_it_cannot(site: Site) -> None:
    chat = Chat(site.url)
    with capture_feedback(chat.app):
        message_id = chat.chat()
        with FAULTS["no permission"][0](site):
            answer = chat.client.get(f"/feedback?message_id={message_id}")
    assert answer.status_code == 503
    assert answer.json["code"] == "store-unavailable"


def test_an_id_that_cannot_be_looked_up_is_not_said_to_be_taken(site: Site) -> None:
    store = store_from_url(site.url, timeout=TIMEOUT, instance_path="", key="KEY")
    store.stash("m", Message("a"), timedelta(days=1))
    with (
        site.told("ACL SETUSER app -getrange", "ACL SETUSER app +@all"),
        pytest.raises(StoreUnavailable, match="Grant"),
    ):
        store.stash("m", Message("b"), timedelta(days=1))


def test_what_cannot_be_read_is_not_said_to_be_unknown(site: Site) -> None:
    store = store_from_url(site.url, timeout=TIMEOUT, instance_path="", key="KEY")
    with (
        site.told("ACL SETUSER app -type", "ACL SETUSER app +@all"),
        pytest.raises(StoreUnavailable, match="Grant"),
    ):
        store.read(["m"], [b""])


def test_a_script_that_redis_has_forgotten_is_told_again(site: Site) -> None:
    store = store_from_url(site.url, timeout=TIMEOUT, instance_path="", key="KEY")
    store.stash("forgotten", Message("a"), timedelta(days=1))
    site.server.ask("SCRIPT", "FLUSH")
    ballot = VoteRequest(b"[1]", 20)
    assert store.vote("forgotten", [b""], ballot).status == "accepted"


@pytest.mark.parametrize(
    ("setting", "back", "seen"),
    [
        ("maxmemory 64mb", "maxmemory 0", "67,108,864 bytes, noeviction"),
        (
            "maxmemory-policy volatile-ttl",
            "maxmemory-policy noeviction",
            "no limit, volatile-ttl",
        ),
    ],
)
def test_a_memory_limit_needs_a_policy_and_a_policy_a_limit(
    site: Site, setting: str, back: str, seen: str
) -> None:
    store = store_from_url(site.url, timeout=TIMEOUT, instance_path="", key="KEY")
    with site.told(f"CONFIG SET {setting}", f"CONFIG SET {back}"):
        found = {finding.what: finding for finding in store.check()}
    memory, persistence = found["memory limit and eviction"], found["persistence"]
    assert (memory.ok, memory.seen) == (False, seen)
    assert (persistence.ok, persistence.seen) == (True, "append-only file")
    assert "volatile-ttl" in memory.remedy
