"""A chat and a vote in time of the ones by hand, in one process and in turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ratio import Effort
from redis_server import RedisServer

ROUND = 0.5
"""Seconds that a round takes, or less."""


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    from alternating import alternating

    rounds = max(int(effort.seconds / ROUND), 3)
    with RedisServer(directory / "redis") as redis:
        ratios = alternating(directory, redis, rounds, 2 if effort.is_quick else 20)
    return {"rounds": rounds, "ratios": ratios}


def render(found: dict[str, Any]) -> Iterator[str]:
    yield "| in one process | a chat | a vote |"
    yield "|---|---|---|"
    for label, (chat, vote) in found["ratios"].items():
        yield f"| {label} | {chat} | {vote} |"
