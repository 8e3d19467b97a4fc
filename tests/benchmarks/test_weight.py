"""What benchmarks measure that is the same on every machine."""

from __future__ import annotations

from needed import needed
from redis_server import RedisServer
from weight import bytes_per_message

#: What a rated message may take of what the engine takes for one kept by hand: a string, which is
#: where Valkey 9 saves most.
RATED_AT_MOST = {"redis": 1.25, "valkey": 1.6}


def test_a_message_takes_little_more_than_one_kept_by_hand(tmp_path):
    with needed(), RedisServer(tmp_path) as server:
        by_hand, unrated, rated = bytes_per_message(server, 16_000)  # which fill their tables
        engine = server.info("server").get("server_name", "redis")
    assert unrated / by_hand <= 0.85
    assert rated / by_hand <= RATED_AT_MOST[engine]
