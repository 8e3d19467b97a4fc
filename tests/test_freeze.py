"""Redis stops answering in the middle of a vote: late is allowed, lost is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
def test_a_vote_refused_during_a_freeze_is_recorded_when_sent_again(
    server: Gunicorn, collector: Collector, own_redis: RedisServer, freeze: int, tries: int
) -> None:
    message_id = made(server)
    with own_redis.frozen():
        for _ in range(tries):
            assert_unavailable(rate(server, message_id))
    # Redis has applied, or is about to apply, the vote that it was sent while frozen
    answer = rate(server, message_id)
    assert answer.status == 202, answer.text
    assert answer.json["revision"] == 1
    [event, *duplicates] = collector.wait_for(message_id=message_id)
    for each in [event, *duplicates]:
        assert each["feedback_id"] == answer.json["feedback_id"]
        assert each["revision"] == 1
    unchanged = wait_until(
        lambda: (again := rate(server, message_id)).status == 200 and again,
        "the vote to be known as recorded",
    )
    assert unchanged.json == answer.json | {"status": "unchanged"}


def test_a_freeze_never_reaches_the_chat(server: Gunicorn, own_redis: RedisServer) -> None:
    with own_redis.frozen(), soon():
        answer = chat(server)
    assert_untouched(answer)
    assert made(server)
