"""Messages and votes in one SQLite file: for one host, with any number of processes and threads.

Each step is one statement, which SQLite makes a transaction by itself: a thread that let go of the
interpreter between statements, with the file locked, would make all others wait for its turn.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..errors import StoreUnavailable
from ..findings import Finding
from ..locks import OfProcess
from .base import RETRACTED, Ballot, Confirmation, Message, Outcome, Shown, Standing
from .sqlite_layout import (
    AMEND,
    CLEAN_UP,
    CONFIRM,
    FIND,
    FIND_VOTE,
    FIND_VOTES,
    LOOK,
    SCHEMA,
    STASH,
    VERSION,
    VOTE,
    Look,
    message_of,
    row_of,
)

_left_behind: list[object] = []
"""Connections that a fork copied. Closing one would drop the parent's locks and its WAL file."""


class SQLiteStore:
    """A store in the file `path`, made when first used.

    A call waits at most twice `timeout` seconds for others.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._patience = 2 * timeout
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._lock = OfProcess(threading.Lock)

    def part_of(self, key: str) -> str:  # noqa: ARG002  # the protocol has it
        """Return the same for all keys: there is one file."""
        return ""

    def stash(self, key: str, message: Message, ttl: timedelta) -> bool:
        """Keep a message, and now and then remove some that have expired."""
        now = time.time()
        row = {"key": key, "now": now, "expires": now + ttl.total_seconds(), **row_of(message)}
        with self._connected() as execute:
            # At 100 a time, more go than come.
            if random.random() < 0.05:  # noqa: S311  # it keeps nothing secret
                execute(CLEAN_UP, (now,))
            if execute(STASH, row).rowcount == 1:
                return True
            found = execute(FIND, (key, now)).fetchone()
            return found is not None and message_of(found) == message

    def amend(self, key: str, message: Message) -> None:
        """Replace a message."""
        with self._connected() as execute:
            execute(AMEND, {"key": key, **row_of(message)})

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Look, decide, and write if nobody else has in between; else look again."""
        with self._connected() as execute:
            while (seen := _look(execute, key, raters)) is not None:
                message, voter, revision, standing, pending = seen
                if standing == ballot.vote:
                    if pending is None:
                        return Outcome("unchanged", revision, message)
                    if pending not in (ballot.attempt, ballot.instead_of):
                        return Outcome("pending", revision, message, pending)
                elif standing is None and ballot.vote == RETRACTED:
                    return Outcome("unchanged", 0, message)
                elif revision >= ballot.max_revisions:
                    return Outcome("too-many", revision, message)
                row = {
                    "key": key,
                    "voter": voter,
                    "revision": revision + (standing != ballot.vote),
                    "vote": ballot.vote,
                    "attempt": ballot.attempt,
                    "seen_revision": revision,
                    "seen_attempt": pending,
                }
                with contextlib.suppress(sqlite3.IntegrityError):  # the message has just gone
                    if execute(VOTE, row).rowcount == 1:
                        return Outcome("accepted", revision + (standing != ballot.vote), message)
            return Outcome("unknown")

    def confirm(self, confirmations: Sequence[Confirmation]) -> None:
        """Note that votes were recorded."""
        with self._connected() as execute:
            for confirmation in confirmations:
                execute(CONFIRM, confirmation)

    def read(self, keys: Sequence[str], raters: Sequence[bytes]) -> list[Standing | None]:
        """Read each message and the caller's vote."""
        with self._connected() as execute:
            looks = [_look(execute, key, raters) for key in keys]
        return [
            look and Standing(look.message, look.revision, look.vote, look.pending is not None)
            for look in looks
        ]

    def show(self, key: str) -> Shown | None:
        """Read all that is kept of one message."""
        with self._connected() as execute:
            found = execute(FIND, (key, time.time())).fetchone()
            if found is None:
                return None
            message = message_of(found)
            expires = execute("SELECT expires FROM messages WHERE key = ?", (key,)).fetchone()[0]
            votes = execute(FIND_VOTES, (key,))
            return Shown(
                message,
                expires - time.time(),
                {voter: Standing(message, n, vote, a is not None) for voter, n, vote, a in votes},
            )

    def inspect(self) -> list[Finding]:
        """Look at the file."""
        with self._connected() as execute:
            rows = execute("SELECT count(*) FROM messages").fetchone()[0]
            damage = execute("PRAGMA quick_check(1)").fetchone()[0]
        seen = f"{self._path}: {rows} messages, {self._path.stat().st_size:,} bytes"
        return [Finding("SQLite file", damage == "ok", f"{seen}, {damage}", MOVE)]

    @contextlib.contextmanager
    def _connected(self) -> Generator[Execute]:
        """Lend this process's one connection, and close it after any error.

        More would not be faster: nearly all calls write, and SQLite writes for one at a time.
        """
        pid = os.getpid()
        lock = self._lock()
        deadline = time.monotonic() + self._patience
        if not lock.acquire(timeout=self._patience):
            remedy = "Use Redis for so many messages at once."
            raise StoreUnavailable("SQLite is busy", remedy, unreachable="crowded")
        try:
            if self._pid != pid:
                _left_behind.append(self._connection)
                self._connection, self._pid = None, pid
            if self._connection is None:
                self._connection = self._open(deadline)
            yield Execute(self._connection, deadline)
        except BaseException as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if isinstance(error, (sqlite3.Error, OSError)):
                raise _unavailable(self._path, error) from error
            raise
        finally:
            lock.release()

    def _open(self, deadline: float) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Through sqlite3.connect() the agent would trace each statement, for more than it costs.
        connection = sqlite3.Connection(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        execute = Execute(connection, deadline)
        try:
            version, tables = execute(LOOK).fetchone()
            if version != VERSION and tables:
                raise sqlite3.DatabaseError(f"not a database of ours, version {version}")
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = NORMAL")
            execute("PRAGMA foreign_keys = ON")
            if version != VERSION:
                for statement in SCHEMA:
                    execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection


class Execute:
    """Executes statements on a connection, each in turn with other processes, until a deadline.

    SQLite's own waiting lets latecomers in first, does not wait at all on the way into WAL mode,
    and stops every greenlet of the process.
    """

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def __call__(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute one statement; raises `sqlite3.OperationalError` where it may not wait longer."""
        while True:
            try:
                return self._connection.execute(statement, parameters)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > self._deadline:
                    raise
                # By chance, so that two do not meet again and again.
                time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311  # it keeps nothing secret


def _look(execute: Execute, key: str, raters: Sequence[bytes]) -> Look | None:
    found = execute(FIND, (key, time.time())).fetchone()
    message = message_of(found) if found else None
    voter = message.voter(raters) if message else None
    if message is None or voter is None:
        return None
    return Look(message, voter, *(execute(FIND_VOTE, (key, voter)).fetchone() or ()))


MOVE = "Move the file away, and start the app again."

REMEDIES = {
    "locked": "Another process keeps the file locked: end it, or raise FEEDBACK_STORE_TIMEOUT.",
    "full": "Make room on its disk.",
    "readonly": "Make the file and its folder writable for this user.",
    "unable to open": "Make the folder, writable for this user.",
    "not a database": f"It is not ours, or was damaged. {MOVE}",
    "malformed": f"It was damaged. {MOVE}",
}


def _unavailable(path: Path, error: Exception) -> StoreUnavailable:
    text = str(error)
    remedies = (remedy for mark, remedy in REMEDIES.items() if mark in text)
    remedy = next(remedies, "Check the file, its folder and its disk.")
    why = f"SQLite, {path}: {text}"
    return StoreUnavailable(why, remedy, unreachable="whole" if "locked" in text else None)
