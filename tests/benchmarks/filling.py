"""Filling a store faster than one call at a time; all that benchmarks know of its insides."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis_server import RedisServer

from feedback_blueprint.model import ANYONE, DEFAULT_VOTE_TTL, Mark, Message, VoteRequest
from feedback_blueprint.stores import RedisStore, SQLiteStore, Store
from feedback_blueprint.stores.redis.layout import SCRIPTS, pack_message
from feedback_blueprint.stores.sqlite.layout import STASH, row_of

WEEK = timedelta(days=7)
TIMEOUT = 0.25  # the default, in seconds
PATIENCE = 5.0  # seconds in which refusals do not count: a busy machine is not an outage
OUTBOX = "fb:!outbox:tests"  # of the application that the tests' collector makes of an app
HARVEST = 225  # votes of a process in five seconds
VOTE = b'["good","informative","Just what I needed"]'

Commands = Callable[[str], tuple[object, ...]]
"""What is sent for a key."""


def new_key() -> str:
    return f"fb:{secrets.token_urlsafe(16)}"


def new_message(*rest: Any) -> Message:
    return Message(secrets.token_hex(16), *rest)


def cast(store: Store, key: str, lease: float = 60) -> Mark:
    """Vote, marked as undelivered."""
    mark = store.vote(key, [ANYONE], VoteRequest(VOTE, 20, OUTBOX, lease)).mark
    assert mark
    return mark


# Redis


def send(server: RedisServer, url: str, keys: Sequence[str], command: Commands) -> None:
    """Send the command of each key, a thousand keys at a time."""
    with server.client(url) as client:  # of its own, as its buffers are not a message's
        for first in range(0, len(keys), 1000):
            pipeline = client.pipeline(transaction=False)
            for key in keys[first : first + 1000]:
                pipeline.execute_command(*command(key))
            pipeline.execute()


def by_hand(key: str) -> tuple[object, ...]:
    """What `benchmarked.py` keeps by hand."""
    name = f"feedback:{secrets.token_hex(16)}"
    return ("SET", name, secrets.token_hex(16), "EX", int(WEEK.total_seconds()))


def stash(*rest: Any, ttl: timedelta = WEEK) -> Commands:
    milliseconds = int(ttl.total_seconds() * 1000)
    return lambda key: ("SET", key, b"".join(pack_message(new_message(*rest))), "PX", milliseconds)


def vote(server: RedisServer) -> Commands:
    """Vote, and leave the event to whoever delivers."""
    script, keep = (
        server.ask("SCRIPT", "LOAD", SCRIPTS["vote"]),
        int(DEFAULT_VOTE_TTL.total_seconds() * 1000),
    )
    return lambda key: ("EVALSHA", script, 2, key, OUTBOX, VOTE, 20, 0, keep, ANYONE)


def deliver(server: RedisServer, url: str) -> None:
    """Take the marks off, as if New Relic had accepted each event."""
    with server.client(url) as client:
        store = RedisStore(client)
        while taken := store.take(OUTBOX, 0, 1000):
            store.unmark([each.mark for each in taken])


def fill_redis(server: RedisServer, url: str, messages: int, ttl: timedelta, *rest: Any) -> float:
    """Bytes that it takes for each message."""
    before = server.info("memory")["used_memory"]
    send(server, url, [new_key() for _ in range(messages)], stash(*rest, ttl=ttl))
    return float(server.info("memory")["used_memory"] - before) / messages


# SQLite


def fill_sqlite(store: SQLiteStore, path: Path, messages: int, ttl: timedelta) -> float:
    """Bytes that it takes for each message."""
    store.stash(new_key(), new_message(), WEEK)  # makes the tables
    expires = time.time() + ttl.total_seconds()
    row = {"now": 0, "expires": expires, **row_of(new_message())}
    statement = STASH.format(raters="")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        connection.execute("BEGIN")
        for _ in range(messages):
            connection.execute(
                statement, row | {"key": new_key(), "trace_id": secrets.token_hex(16)}
            )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size / messages
