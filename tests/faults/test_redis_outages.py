"""Every way in which a Redis server fails: the chat goes on, a vote is refused, then all is well.

The server is real and so are the faults. How long each of them costs is measured by
benchmarks/outages.py; here a bound is only wide enough to tell one timeout from one a request.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from contract import OUTBOX, store_at
from outage import TIMEOUT, Chat, Site, kept_out, suffer
from processes import wait_until
from redis_cluster import RedisCluster
from store_faults import FAULTS

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.logs import ThrottledLog
from feedback_blueprint.model import ANYONE, RETRACTED, Message, VoteRequest
from feedback_blueprint.stores import CircuitBreaker
from feedback_blueprint.testing import capture_feedback


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


@pytest.mark.parametrize("vote", [b'["good"]', RETRACTED])
def test_a_vote_is_accepted_if_the_first_attempt_cast_it_and_got_no_answer(
    site: Site, vote: bytes
) -> None:
    store = store_at(site.url, timeout=1)
    breaker = CircuitBreaker(store, ThrottledLog(), 1, lambda _: None)
    vote_request = VoteRequest(vote, 20, OUTBOX, 60)
    key = f"voted {vote!r}"
    store.stash(key, Message("a"), timedelta(days=1))
    assert breaker.vote(key, [ANYONE], VoteRequest(b'["bad"]', 20)).revision == 1
    site.server.freeze()
    thaw = threading.Timer(1.5, site.server.thaw)
    thaw.start()
    try:
        result = breaker.vote(key, [ANYONE], vote_request)
    finally:
        thaw.join()
    assert (result.status, result.revision) == ("accepted", 2)
    assert breaker.vote(key, [ANYONE], vote_request).status == "unchanged"


def test_reading_back_says_that_it_cannot(site: Site) -> None:
    chat = Chat(site.url)
    with capture_feedback(chat.app):
        message_id = chat.chat()
        with FAULTS["no permission"][0](site):
            answer = chat.client.get(f"/feedback?message_id={message_id}")
    assert answer.status_code == 503
    assert answer.json["code"] == "store-unavailable"


def test_an_id_that_cannot_be_looked_up_is_not_said_to_be_taken(site: Site) -> None:
    store = store_at(site.url, timeout=TIMEOUT)
    store.stash("m", Message("a"), timedelta(days=1))
    with (
        site.told("ACL SETUSER app -getrange", "ACL SETUSER app +@all"),
        pytest.raises(StoreUnavailable, match="Grant"),
    ):
        store.stash("m", Message("b"), timedelta(days=1))


def test_what_cannot_be_read_is_not_said_to_be_unknown(site: Site) -> None:
    store = store_at(site.url, timeout=TIMEOUT)
    with (
        site.told("ACL SETUSER app -type", "ACL SETUSER app +@all"),
        pytest.raises(StoreUnavailable, match="Grant"),
    ):
        store.read(["m"], [b""])


def test_a_script_that_redis_has_forgotten_is_loaded_again(site: Site) -> None:
    store = store_at(site.url, timeout=TIMEOUT)
    store.stash("forgotten", Message("a"), timedelta(days=1))
    site.server.ask("SCRIPT", "FLUSH")
    ballot = VoteRequest(b"[1]", 20)
    assert store.vote("forgotten", [b""], ballot).status == "accepted"
