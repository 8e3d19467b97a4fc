"""Messages and votes in one SQLite file: for one host, with any number of processes and threads."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from ..errors import StoreUnavailable
from .base import RETRACTED, Message, Outcome, Standing

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    key TEXT PRIMARY KEY,
    expires REAL NOT NULL,
    trace_id TEXT NOT NULL,
    owner BLOB NOT NULL,
    context TEXT,
    content TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_expires ON messages (expires);
CREATE TABLE IF NOT EXISTS votes (
    key TEXT NOT NULL REFERENCES messages ON DELETE CASCADE,
    voter BLOB NOT NULL,
    revision INTEGER NOT NULL,
    vote BLOB NOT NULL,
    attempt BLOB, -- until the attempt that cast the vote confirms that it was recorded
    PRIMARY KEY (key, voter)
) WITHOUT ROWID;
"""

CLEAN_UP = 10
"""Expired rows removed with each new message: more than come, few enough to cost nothing."""

_left_behind: list[object] = []
"""Connections that a fork copied. Closing one would drop the parent's locks and its WAL file."""


class SQLiteStore:
    """A store in the file `path`, made when first used.

    `timeout` is how many seconds a call may wait for another one to finish writing.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._idle: deque[sqlite3.Connection] = deque()
        self._pid = os.getpid()

    def stash(self, key: str, message: Message, ttl: timedelta) -> bool:
        """Keep a message, and remove some that have expired."""
        now = time.time()
        row = _row(message)
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM messages WHERE key IN "
                "(SELECT key FROM messages WHERE expires <= ? LIMIT ?) OR key = ? AND expires <= ?",
                (now, CLEAN_UP, key, now),
            )
            inserted = connection.execute(
                "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?)",
                (key, now + ttl.total_seconds(), *row),
            )
            return inserted.rowcount == 1 or row == _found(connection, key, now)

    def amend(self, key: str, message: Message) -> None:
        """Replace a message."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE messages SET trace_id = ?, owner = ?, context = ?, content = ? "
                "WHERE key = ?",
                (*_row(message), key),
            )

    def vote(
        self,
        key: str,
        raters: Sequence[bytes],
        vote: bytes,
        *,
        attempt: bytes,
        instead_of: bytes,
        max_revisions: int,
    ) -> Outcome:
        """Cast a vote in one transaction."""
        with self._transaction() as connection:
            row = _found(connection, key, time.time())
            message = _message(row) if row else None
            voter = message.voter(raters) if message else None
            if message is None or voter is None:
                return Outcome("unknown")
            revision, standing, pending = connection.execute(
                "SELECT revision, vote, attempt FROM votes WHERE key = ? AND voter = ?",
                (key, voter),
            ).fetchone() or (0, None, None)
            if standing == vote:
                if pending is None:
                    return Outcome("unchanged", revision, message)
                if pending not in (attempt, instead_of):
                    return Outcome("pending", revision, message, pending)
            elif standing is None and vote == RETRACTED:
                return Outcome("unchanged", 0, message)
            elif revision >= max_revisions:
                return Outcome("too-many", revision, message)
            else:
                revision += 1
            connection.execute(
                "REPLACE INTO votes VALUES (?, ?, ?, ?, ?)", (key, voter, revision, vote, attempt)
            )
            return Outcome("accepted", revision, message)

    def confirm(self, key: str, voter: bytes, attempt: bytes) -> None:
        """Note that the vote was recorded."""
        with contextlib.suppress(StoreUnavailable), self._transaction() as connection:
            connection.execute(
                "UPDATE votes SET attempt = NULL WHERE key = ? AND voter = ? AND attempt = ?",
                (key, voter, attempt),
            )

    def read(self, keys: Sequence[str], raters: Sequence[bytes]) -> list[Standing | None]:
        """Read each message and the caller's vote."""
        now = time.time()
        with self._connection() as connection:
            return [_standing(connection, key, raters, now) for key in keys]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Take the write lock first: a reader that turned writer could not wait for it."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend an idle connection of this process, or a new one; close it after any error."""
        if self._pid != os.getpid():
            _left_behind.append(self._idle)
            self._idle, self._pid = deque(), os.getpid()
        connection = None
        try:
            with contextlib.suppress(IndexError):
                connection = self._idle.pop()
            connection = connection or self._open()
            yield connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise StoreUnavailable(
                    f"SQLite did not take part: {type(error).__name__}. Send it again."
                ) from error
            raise
        self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection


Row = tuple[str, bytes, "str | None", "str | None"]


def _row(message: Message) -> Row:
    context = json.dumps(message.context) if message.context else None
    return message.trace_id, message.owner, context, message.content


def _message(row: Row) -> Message:
    trace_id, owner, context, content = row
    return Message(trace_id, owner, json.loads(context) if context else {}, content)


def _found(connection: sqlite3.Connection, key: str, now: float) -> Row | None:
    row: Row | None = connection.execute(
        "SELECT trace_id, owner, context, content FROM messages WHERE key = ? AND expires > ?",
        (key, now),
    ).fetchone()
    return row


def _standing(
    connection: sqlite3.Connection, key: str, raters: Sequence[bytes], now: float
) -> Standing | None:
    row = _found(connection, key, now)
    message = _message(row) if row else None
    voter = message.voter(raters) if message else None
    if message is None or voter is None:
        return None
    revision, vote = connection.execute(
        "SELECT revision, vote FROM votes WHERE key = ? AND voter = ? AND attempt IS NULL",
        (key, voter),
    ).fetchone() or (0, None)
    return Standing(message, revision, vote)
