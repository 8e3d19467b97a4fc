"""Four gunicorn workers on one store, and what a restart leaves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from chatting import PATIENT, at_once, chat, made, rate
from collector import Collector
from gunicorn_server import StartServer
from http_client import Client
from processes import wait_until
from redis_server import RedisServer
from store_kinds import STORES

FOUR: dict[str, Any] = {
    "workers": 4,
    "worker_class": "gthread",
    "threads": 16,
    "options": ["--preload"],
}


def wait_for_workers(server: Client) -> None:
    """Wait until several workers answer: the first one can be much earlier than the others."""
    seen: set[str] = set()

    def several() -> bool:
        seen.update(
            answer.headers["X-Worker"] for answer in at_once(lambda _: chat(server), range(16))
        )
        return len(seen) > 2

    wait_until(several, "the workers")


def test_no_vote_misses_its_message_not_even_after_a_crash(
    chat_server: StartServer, collector: Collector
) -> None:
    """The store is a file: of a Redis, a crash of the app takes nothing."""
    with chat_server(env=PATIENT, **FOUR) as server:
        wait_for_workers(server)
        messages = at_once(lambda _: chat(server), range(40))
        assert len({message.headers["X-Worker"] for message in messages}) > 1
        traces = {
            answer.headers["X-Message-ID"]: answer.headers["X-Trace-ID"] for answer in messages
        }
        assert len(traces) == 40
        server.kill()
        server.start()
        wait_for_workers(server)
        votes = at_once(lambda message_id: rate(server, message_id), traces)
        assert len({vote.headers["X-Worker"] for vote in votes}) > 1
        assert Counter(vote.status for vote in votes) == {202: 40}
        events = collector.wait_for(
            lambda events: traces.keys() <= {e["message_id"] for e in events}
        )
        assert traces.items() <= {e["message_id"]: e["trace_id"] for e in events}.items()


@pytest.mark.parametrize("store_kind", STORES)
def test_forty_votes_at_once_have_forty_revisions_and_identical_ones_are_one_event(
    chat_server: StartServer, collector: Collector, store_url: str
) -> None:
    env = PATIENT | {"FLASK_FEEDBACK_MAX_REVISIONS": "40"}
    with chat_server(store_url=store_url, env=env, **FOUR) as server:
        wait_for_workers(server)
        message_id = made(server)
        votes = at_once(lambda rating: rate(server, message_id, rating=rating), range(40))
        assert Counter(vote.status for vote in votes) == {202: 40}
        assert len({vote.headers["X-Worker"] for vote in votes}) > 1
        assert sorted(vote.json["revision"] for vote in votes) == list(range(1, 41))

        another = made(server)
        votes = at_once(lambda _: rate(server, another), range(40))
        assert len({vote.headers["X-Worker"] for vote in votes}) > 1
        assert Counter(vote.status for vote in votes) == {202: 1, 200: 39}
        assert len({vote.json["feedback_id"] for vote in votes}) == 1
        assert {vote.json["revision"] for vote in votes} == {1}
        assert Counter(vote.json["status"] for vote in votes) == {"accepted": 1, "unchanged": 39}

        server.stop()  # an agent that ends sends all it has
        events = collector.events(message_id=message_id)
        assert sorted(event["revision"] for event in events) == list(range(1, 41))
        assert len(collector.events(message_id=another)) == 1


def test_redis_keeps_messages_and_votes_over_a_crash(
    chat_server: StartServer, own_redis: RedisServer
) -> None:
    with chat_server(store_url=f"unix://{own_redis.socket}") as server:
        messages = [made(server) for _ in range(5)]
        own_redis.kill()
        own_redis.start()
        votes = [rate(server, message_id) for message_id in messages]
        assert {vote.status for vote in votes} == {202}
        own_redis.kill()
        own_redis.start()
        for message_id, vote in zip(messages, votes, strict=True):
            again = rate(server, message_id)
            assert again.status == 200
            assert again.json["feedback_id"] == vote.json["feedback_id"]
            assert again.json["revision"] == 1
