"""A call to a slow store takes two timeouts in all: redis-py has one for each of many steps."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from outage import TIMEOUT, Chat, Site, with_password
from processes import environment, free_port
from proxy import Proxy
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import RedisServer, all_struck

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import ANYONE, Message, VoteRequest
from feedback_blueprint.stores import RedisStore
from feedback_blueprint.stores.deadline import DEADLINE, Deadline
from feedback_blueprint.stores.redis.connections import BoundedSocket, Cached, bounded
from feedback_blueprint.testing import capture_feedback

SERVERS = ["redis", "rediss", "unix"]


class Slow(NamedTuple):
    """A store, and the network to it."""

    url: str
    proxy: Proxy


@pytest.fixture
def slow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slow]:
    """A store of each kind; a cluster or Sentinels are slow to say which servers there are."""
    kind, at = request.param, "127.0.0.1:{}"
    path = None
    if kind == "rediss":
        server: RedisServer = request.getfixturevalue("secure")
        port, url = server.port, server.url.replace(server.address, at)
    elif kind == "cluster":
        cluster: RedisCluster = request.getfixturevalue("cluster")
        port, url = cluster.nodes[0].port, with_password(f"redis+cluster://{at}")
    elif kind == "sentinel":
        sentinel: RedisSentinel = request.getfixturevalue("redis_sentinel")
        port, url = sentinel.sentinels[0].port, f"redis+sentinel://{at}/{sentinel.service}"
    else:
        site: Site = request.getfixturevalue("site")
        port, url = site.server.port, with_password(f"redis://{at}/1")
        if kind == "unix":
            path, url = tmp_path / "proxy.sock", f"unix://{tmp_path}/proxy.sock"
    with Proxy(port, path) as proxy:
        yield Slow(url.format(proxy.port), proxy)


@contextmanager
def in_time() -> Iterator[None]:
    """What is done inside takes two timeouts at most, and what a busy machine adds."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 2 * TIMEOUT + 1


DRIPPING, LATE = {"drip": 0.1}, {"delay": 0.2}


@pytest.mark.parametrize(
    ("slow", "pace"),
    [
        *((kind, DRIPPING) for kind in (*SERVERS, "cluster", "sentinel")),
        *((kind, LATE) for kind in ("rediss", "sentinel")),
    ],
    indirect=["slow"],
)
def test_connecting_and_logging_in_takes_two_timeouts_at_most(
    slow: Slow, pace: dict[str, float]
) -> None:
    chat = Chat(slow.url)
    with capture_feedback(chat.app), slow.proxy.slow(**pace):
        with in_time():
            assert chat.chat() is None
        with in_time():
            assert chat.rate("any") == 503


@pytest.mark.parametrize("slow", SERVERS, indirect=True)
def test_an_answer_that_comes_byte_by_byte_takes_two_timeouts_at_most(slow: Slow) -> None:
    chat = Chat(slow.url)
    with capture_feedback(chat.app):
        message_id = chat.chat()
        assert message_id
        with slow.proxy.slow(drip=0.1), in_time():
            assert chat.rate(message_id) == 503
        assert chat.rate(message_id) in (200, 202)


def test_a_name_with_many_addresses_takes_two_timeouts_at_most(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver is not real: nobody else's would be asked."""
    ask = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ask(*args, **kwargs) * 6)
    chat = Chat(site.url)
    with capture_feedback(chat.app), site.proxy.dropping(), in_time():
        assert chat.chat() is None


def test_all_nodes_of_a_cluster_take_two_timeouts_at_most(cluster: RedisCluster) -> None:
    chat = Chat(with_password(cluster.url))
    with capture_feedback(chat.app):
        assert chat.chat()
        with all_struck(cluster.nodes, "frozen"), in_time():
            assert chat.chat() is None
    cluster.wait_ok()


def test_an_answer_that_nobody_waits_for_ends_too(site: Site) -> None:
    """A delivery is not a call of the app's; it runs in the agent's thread."""
    store, outbox = RedisStore.from_url(site.url, 0.25), "!outbox:slow"
    for number in range(20):
        store.stash(f"slow{number}", Message("t"), timedelta(days=1))
        store.vote(f"slow{number}", [ANYONE], VoteRequest(b"[1]", 20, outbox))
    begin = time.monotonic()
    with site.proxy.slow(drip=0.1), pytest.raises(StoreUnavailable):
        store.backlog(outbox)
    assert time.monotonic() - begin < 10, "its answer of 900 bytes would take longer"


@pytest.fixture
def soon_over() -> Iterator[None]:
    """A call runs, which has half a second left."""
    token = DEADLINE.set(Deadline(0.5))
    yield
    DEADLINE.reset(token)


def test_a_call_waits_for_a_connection_as_long_as_it_has_time(site: Site, soon_over: None) -> None:
    store = RedisStore.from_url(f"{site.url}?max_connections=1", 10)
    taken: Any = store._client.connection_pool.get_connection()
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        store.read(["m"], [ANYONE])
    assert time.monotonic() - begin < 5
    assert refused.value.unreachable == "turn"
    taken.disconnect()


@pytest.mark.parametrize("slow", ["rediss"], indirect=True)
def test_a_handshake_takes_no_longer_than_its_call_has(slow: Slow, soon_over: None) -> None:
    store = RedisStore.from_url(slow.url, 10)
    begin = time.monotonic()
    with slow.proxy.slow(drip=0.1), pytest.raises(StoreUnavailable):
        store.read(["m"], [ANYONE])
    assert time.monotonic() - begin < 5


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys, time
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.stores import RedisStore
begin = time.monotonic()
try:
    RedisStore.from_url(sys.argv[1], 0.5).read(["m"], [b""])
except StoreUnavailable:
    print(time.monotonic() - begin)
"""


@pytest.mark.parametrize("slow", ["rediss"], indirect=True)
def test_a_handshake_under_gevent_ends_after_its_attempts(slow: Slow) -> None:
    with slow.proxy.slow(drip=0.1):
        assert float(run_python(UNDER_GEVENT, slow.url)) < 5, "four attempts, as no call runs"


STARVED = """
from gevent import monkey
monkey.patch_all()
import os, subprocess, sys
import gevent
from feedback_blueprint.stores import RedisStore
from feedback_blueprint.model import ANYONE
from feedback_blueprint.stores.deadline import DEADLINE, Deadline
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
store = RedisStore.from_url(sys.argv[1], 0.25)

def read():
    DEADLINE.set(Deadline(0.5))
    store.read(["m"], [ANYONE])

others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
try:
    greenlets = [gevent.spawn(read) for _ in range(300)]
    gevent.joinall(greenlets)
finally:
    for other in others:
        other.kill()
print(sum(not greenlet.successful() for greenlet in greenlets))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to choose a processor")
def test_greenlets_that_wait_for_a_processor_do_not_wait_for_the_store(site: Site) -> None:
    assert run_python(STARVED, site.server.url) == "0"


def run_python(source: str, url: str) -> str:
    env = environment({})
    env.pop("COVERAGE_PROCESS_CONFIG", None)  # as in gunicorn_server.py
    command = [sys.executable, "-c", source, url]
    return subprocess.check_output(command, env=env, text=True, timeout=60).strip()


def test_a_call_waits_for_others_to_connect_as_long_as_it_has_time(soon_over: None) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def connect() -> str:
        begun.set()
        go_on.wait()
        return "client"

    cached = Cached(connect, 60)
    other = threading.Thread(target=cached.get)
    other.start()
    begun.wait()
    with pytest.raises(TimeoutError):
        cached.get()
    go_on.set()
    other.join()
    assert cached.get() == "client"


def test_what_passes_after_a_connection_failed_is_not_counted(soon_over: None) -> None:
    connection = bounded(redis.Connection)(port=free_port(), socket_connect_timeout=1)
    with pytest.raises(redis.ConnectionError):
        connection.connect()
    time.sleep(0.3)  # the time that must not count
    assert DEADLINE.get().begin() > 0.3


@pytest.mark.parametrize(
    "wait",
    [
        lambda end: end.sendall(bytes(20_000_000)),
        lambda end: end.recv(9),
        lambda end: end.recv_into(bytearray(9)),  # by hiredis
    ],
    ids=["sendall", "recv", "recv_into"],
)
def test_what_a_socket_waits_for_takes_no_longer_than_its_call_has(
    wait: Callable[[BoundedSocket], Any], soon_over: None
) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(10)
        end = BoundedSocket(one)
        own = one.gettimeout()
        begin = time.monotonic()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                wait(end)
        assert time.monotonic() - begin < 5
        assert one.gettimeout() == own, "the next call has its own time"
