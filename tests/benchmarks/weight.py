"""What Redis keeps of a message, in bytes: ours, and one written by hand."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from uuid import uuid4

from feedback_blueprint.stores.redis.store.scripts import VOTE
from redis import Redis
from redis_server import RedisServer

from feedback_blueprint.model import ANYONE, Message
from feedback_blueprint.stores import RedisStore
from feedback_blueprint.stores.redis.layout import encode

WEEK, DEFAULT_VOTE_TTL = 7 * 24 * 3600, 30 * 24 * 3600
OUTBOX = "!outbox:weight"


def used(redis: RedisServer) -> int:
    return int(redis.info("memory")["used_memory"])


def bytes_per_message(redis: RedisServer, keys: int) -> tuple[float, float, float]:
    """What Redis keeps of a message: written by hand, ours, and ours with a vote.

    It is what a server gives back when they go: what it takes for scripts beside them is no
    message's.
    """
    sizes = []
    ours = [f"fb:{os.urandom(16).hex()[:22]}" for _ in range(keys)]
    trace_ids = (uuid4().hex for _ in itertools.count())
    vote = b'["good","informative","Just what I needed"]'

    def by_hand(key: str) -> list[tuple[object, ...]]:
        return [("SET", f"feedback:{uuid4().hex}", next(trace_ids), "EX", WEEK)]

    def stash(key: str) -> list[tuple[object, ...]]:
        return [("SET", key, encode(Message(next(trace_ids))), "PX", WEEK * 1000, "NX")]

    def rate(key: str) -> list[tuple[object, ...]]:
        return [
            ("EVALSHA", vote_script, 2, key, OUTBOX, vote, 20, 0, DEFAULT_VOTE_TTL * 1000, ANYONE)
        ]

    with redis.client() as client:
        vote_script = client.script_load(VOTE)
        for steps in (by_hand,), (stash,), (stash, rate):
            for commands in steps:
                send(client, ours, commands)
            deliver(redis)
            full = used(redis)
            client.execute_command("FLUSHALL", "SYNC")
            sizes.append((full - used(redis)) / keys)
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


def deliver(redis: RedisServer) -> None:
    """Take the marks off, as if New Relic had accepted each event."""
    with redis.client() as client:  # of its own, as its buffers are no message's
        store = RedisStore(client)
        while taken := store.take(OUTBOX, 0, 1000):
            store.unmark([each.mark for each in taken])
