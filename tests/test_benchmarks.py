"""What benchmarks measure that is the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import needed
from redis_server import RedisServer

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_a_message_takes_less_of_redis_than_one_kept_by_hand(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    compare = pytest.importorskip("compare")
    with needed(), RedisServer(tmp_path) as server:
        by_hand, unrated, rated = compare.bytes_per_message(server, 50_000)
    assert unrated / by_hand <= 0.85
    assert rated / by_hand <= 1.25
