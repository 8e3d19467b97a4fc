"""Redis goes back in time, as from a backup or after a failover: what was voted since arrives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatting import made, rate
from collector import Collector, Event
from dashboard import QUERIES
from gunicorn_server import Gunicorn
from needed import needed
from nrql import run
from processes import wait_until
from redis_server import RedisServer


@contextmanager
def forgotten(server: RedisServer, backup: Path) -> Iterator[None]:
    """What happens inside is forgotten: the server crashes, and starts on what it kept before."""
    server.ask("SAVE")
    no_data = shutil.ignore_patterns("*.sock", "*.log")
    shutil.copytree(server.directory, backup, ignore=no_data)
    yield
    with server.down():
        shutil.rmtree(server.directory)
        shutil.copytree(backup, server.directory)


def test_the_newest_vote_stands_though_its_number_had_been_given_before(
    collector: Collector, chat_server, tmp_path: Path
) -> None:
    taken: list[tuple[str, int, int]] = []
    collector.clear()

    def vote(server: Gunicorn, message_id: str, rating: int) -> int:
        answer = rate(server, message_id, rating=rating)
        if answer.status == 202:
            taken.append((answer.json["feedback_id"], answer.json["revision"], rating))
        return answer.status

    with (
        needed(),
        RedisServer(tmp_path / "redis") as redis,
        chat_server(store_url=redis.url, workers=2) as server,
    ):
        before = [made(server) for _ in range(4)]
        assert [vote(server, each, 1) for each in before] == [202] * 4
        with forgotten(redis, tmp_path / "backup"):
            for rating in 2, 3, 4:
                assert [vote(server, each, rating) for each in before] == [202] * 4
            since = made(server)
            assert vote(server, since, 5) == 202
        wait_until(lambda: vote(server, before[0], 6) == 202, "the store to be back")
        assert vote(server, before[1], 7) == 202
        assert vote(server, before[1], 8) == 202
        assert vote(server, before[2], 1) == 200, "it stands again"
        assert vote(server, since, 6) == 404

        def missing(events: list[Event]) -> set[tuple[str, int, int]]:
            names = "feedback_id", "revision", "rating"
            return set(taken) - {tuple(each[name] for name in names) for each in events}

        events = collector.wait_for(lambda events: not missing(events))
    rows = run(QUERIES["Standing vote of each message"], events)
    assert {row["message_id"]: (row["rating"], row["revision"]) for row in rows} == {
        before[0]: (6, 2),
        before[1]: (8, 3),
        before[2]: (4, 4),
        before[3]: (4, 4),
        since: (5, 1),
    }
    counted = run(QUERIES["Standing votes by rating"], events)
    assert {row["rating"]: row["votes"] for row in counted} == {6: 1, 8: 1, 4: 2, 5: 1}
