"""What benchmarks measure that is the same on every machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from conftest import needed
from redis_server import RedisServer

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_a_message_takes_less_of_redis_than_one_kept_by_hand(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    weight = import_module("weight")
    with needed(), RedisServer(tmp_path) as server:
        by_hand, unrated, rated = weight.bytes_per_message(server, 12_500)
    assert unrated / by_hand <= 0.85
    assert rated / by_hand <= 1.25
