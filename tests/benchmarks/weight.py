"""What Redis keeps of a message, in bytes: ours, and one written by hand."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from uuid import uuid4

from redis import Redis
from redis_server import RedisServer

from feedback_blueprint.stores import ANYONE, Ballot, Message
from feedback_blueprint.stores.redis_layout import CONFIRM, VOTE, encode

WEEK = 7 * 24 * 3600


def used(redis: RedisServer) -> int:
    return int(redis.info("memory")["used_memory"])


def bytes_per_message(redis: RedisServer, keys: int) -> tuple[float, float, float]:
    """What Redis keeps of a message: written by hand, ours, and ours with a vote."""
    sizes = []
    ours = [f"fb:{os.urandom(16).hex()[:22]}" for _ in range(keys)]
    trace_ids = (uuid4().hex for _ in itertools.count())
    vote = b'["good","informative","Just what I needed"]'

    def by_hand(key: str) -> list[tuple[object, ...]]:
        return [("SET", f"feedback:{uuid4().hex}", next(trace_ids), "EX", WEEK)]

    def stash(key: str) -> list[tuple[object, ...]]:
        return [("SET", key, encode(Message(next(trace_ids))), "PX", WEEK * 1000, "NX")]

    def rate(key: str) -> list[tuple[object, ...]]:
        ballot = Ballot(vote, os.urandom(8), 20)
        return [
            ("EVALSHA", vote_script, 1, key, *ballot, ANYONE),
            ("EVALSHA", confirm_script, 1, key, b"p" + ANYONE, ballot.attempt),
        ]

    with redis.client() as client:
        client.flushall()
        vote_script, confirm_script = client.script_load(VOTE), client.script_load(CONFIRM)
        empty = used(redis)
        for commands, flush in ((by_hand, True), (stash, False), (rate, True)):
            send(client, ours, commands)
            sizes.append((used(redis) - empty) / keys)
            if flush:
                client.flushall()
    return sizes[0], sizes[1], sizes[2]


def send(
    client: Redis, keys: Sequence[str], commands: Callable[[str], list[tuple[object, ...]]]
) -> None:
    """Send the commands of all keys, a thousand keys at a time."""
    for first in range(0, len(keys), 1000):
        pipeline = client.pipeline(transaction=False)
        for key in keys[first : first + 1000]:
            for command in commands(key):
                pipeline.execute_command(*command)
        pipeline.execute()
