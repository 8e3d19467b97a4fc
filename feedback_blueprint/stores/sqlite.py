"""Messages and votes in one SQLite file: for one host, with any number of processes and threads.

Each step is one statement, which SQLite makes a transaction by itself: a thread that let go of the
interpreter between statements, with the file locked, would make all others wait for its turn.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from ..findings import Finding
from .base import RETRACTED, Ballot, Confirmation, Message, Outcome, Shown, Standing
from .sqlite_client import MOVE, Client, Execute
from .sqlite_layout import (
    AMEND,
    CLEAN_UP,
    CONFIRM,
    FIND,
    FIND_VOTE,
    FIND_VOTES,
    STASH,
    VOTE,
    Look,
    message_of,
    row_of,
)


class SQLiteStore:
    """A store in the file `path`, made when first used.

    A call waits at most twice `timeout` seconds for others.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._connected = Client(path, timeout).connected

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


def _look(execute: Execute, key: str, raters: Sequence[bytes]) -> Look | None:
    found = execute(FIND, (key, time.time())).fetchone()
    message = message_of(found) if found else None
    voter = message.voter(raters) if message else None
    if message is None or voter is None:
        return None
    return Look(message, voter, *(execute(FIND_VOTE, (key, voter)).fetchone() or ()))
