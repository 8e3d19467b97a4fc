"""Redis stops answering in the middle of a vote: late is allowed, lost is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from arrival import assert_all_arrive
from chatting import assert_untouched, chat, rate
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from http_client import Response
from outage import soon
from processes import wait_until
from redis_server import RedisServer


@pytest.fixture(scope="module")
def server(chat_server: StartServer, own_redis: RedisServer) -> Iterator[Gunicorn]:
    with chat_server(store_url=own_redis.url, workers=2) as running:
        yield running


def made(server: Gunicorn) -> str:
    """A message that can be rated: after an outage each worker waits a second before it asks."""
    return str(wait_until(lambda: chat(server).headers["X-Message-ID"], "a stash"))


def assert_unavailable(answer: Response) -> None:
    assert answer.status == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["code"] == "store-unavailable"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("freeze", range(3))  # which worker answers is chance
def test_a_vote_refused_during_a_freeze_arrives_once(
    server: Gunicorn, collector: Collector, own_redis: RedisServer, freeze: int, tries: int
) -> None:
    """Redis applies the vote that it was sent while frozen, or the one that is sent after that."""
    message_id = made(server)
    with own_redis.frozen():
        for _ in range(tries):
            assert_unavailable(rate(server, message_id))
    answer = rate(server, message_id)
    assert (answer.status, answer.json["revision"]) in [(200, 1), (202, 1)]
    assert_all_arrive(collector, {(answer.json["feedback_id"], 1): message_id})
    assert rate(server, message_id).json == answer.json | {"status": "unchanged"}
    assert len(collector.events(message_id=message_id)) == 1


def test_a_freeze_never_reaches_the_chat(server: Gunicorn, own_redis: RedisServer) -> None:
    with own_redis.frozen(), soon():
        answer = chat(server)
    assert_untouched(answer)
    assert made(server)
