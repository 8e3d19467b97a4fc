"""Filling a store faster than one call at a time."""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis_server import RedisServer

from feedback_blueprint.model import Message
from feedback_blueprint.stores import SQLiteStore
from feedback_blueprint.stores.redis.layout import encode
from feedback_blueprint.stores.sqlite.layout import STASH, row_of

WEEK = timedelta(days=7)


def new_key() -> str:
    return f"fb:{secrets.token_urlsafe(16)}"


def new_message(*rest: Any) -> Message:
    return Message(secrets.token_hex(16), *rest)


def fill_redis(server: RedisServer, url: str, messages: int, ttl: timedelta, *rest: Any) -> float:
    """Bytes that it takes for each message."""
    before = server.info("memory")["used_memory"]
    milliseconds = int(ttl.total_seconds() * 1000)
    with server.client(url) as client:
        for _ in range(0, messages, 1000):
            pipeline = client.pipeline(transaction=False)
            for _ in range(1000):
                pipeline.execute_command(
                    "SET", new_key(), encode(new_message(*rest)), "PX", milliseconds
                )
            pipeline.execute()
    return float(server.info("memory")["used_memory"] - before) / messages


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
