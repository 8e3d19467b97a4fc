"""Two gunicorn workers on one store, and what a restart leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from chatting import PATIENT, at_once, chat, made, rate
from collector import Collector
from gunicorn_server import StartServer
from http_client import Client, Response
from processes import wait_until
from redis_server import RedisServer
from store_kinds import STORES

TWO: dict[str, Any] = {
    "workers": 2,
    "worker_class": "gthread",
    "threads": 16,
    "options": ["--preload"],
}


def from_both(ask: Callable[[], list[Response]]) -> list[Response]:
    """What both workers answer, asked again if only one was fast enough to answer anything."""

    def answers() -> list[Response]:
        found = ask()
        return found if len({answer.headers["X-Worker"] for answer in found}) == 2 else []

    return list(wait_until(answers, "both workers"))


def votes_at_once(server: Client, ratings: Iterable[object]) -> list[Response]:
    """Vote on a new message, once with each rating."""
    message_id = made(server)
    return at_once(lambda rating: rate(server, message_id, rating=rating), ratings)


def test_no_vote_misses_its_message_not_even_after_a_crash(
    chat_server: StartServer, collector: Collector
) -> None:
    """The store is a file: of a Redis, a crash of the app takes nothing."""
    with chat_server(env=PATIENT, **TWO) as server:
        messages = from_both(lambda: at_once(lambda _: chat(server), range(40)))
        traces = {
            answer.headers["X-Message-ID"]: answer.headers["X-Trace-ID"] for answer in messages
        }
        assert len(traces) == 40
        server.kill()
        server.start()
        votes = at_once(lambda message_id: rate(server, message_id), traces)
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
    with chat_server(store_url=store_url, env=env, **TWO) as server:
        different = from_both(lambda: votes_at_once(server, range(40)))
        assert Counter(vote.status for vote in different) == {202: 40}
        assert sorted(vote.json["revision"] for vote in different) == list(range(1, 41))

        identical = from_both(lambda: votes_at_once(server, ["good"] * 40))
        assert Counter(vote.status for vote in identical) == {202: 1, 200: 39}
        assert len({vote.json["feedback_id"] for vote in identical}) == 1
        assert {vote.json["revision"] for vote in identical} == {1}
        statuses = Counter(vote.json["status"] for vote in identical)
        assert statuses == {"accepted": 1, "unchanged": 39}

        server.stop()  # an agent that ends sends all it has
        events = collector.events(message_id=different[0].json["message_id"])
        assert sorted(event["revision"] for event in events) == list(range(1, 41))
        assert len(collector.events(message_id=identical[0].json["message_id"])) == 1


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
