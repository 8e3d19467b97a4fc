"""Messages and votes in one SQLite file: for one host, with any number of processes and threads.

Each step of a request is one statement, and SQLite makes each statement a transaction. In a longer
one, a thread that lets another run between statements would keep the file locked meanwhile. Only
`forget` and the making of the tables need one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from ...errors import StoreUnavailable
from ...model import (
    DEFAULT_VOTE_TTL,
    RETRACTED,
    Backlog,
    CastVote,
    Finding,
    Mark,
    Message,
    StoredMessage,
    StoredVote,
    Undelivered,
    VoteRequest,
    VoteResult,
)
from . import layout
from .client import MOVE, Client, Execute
from .files import NETWORK, file_system
from .layout import message_of, row_of

MOVE_TO_DISK = (
    "Move the file to a disk of this host, or use Redis: votes would be lost, or the file broken."
)
"""What to do about a network file system (sqlite.org/wal.html)."""

CHECKPOINT_SECONDS = 10.0
"""How long `forget` waits for readers to end: until then the WAL keeps what it removed."""


class SQLiteStore:
    """A store in the file `path`, made when first used.

    A call waits at most twice `timeout` seconds for others.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._connected = Client(path, timeout).connected

    def node_of(self, key: str) -> str:  # noqa: ARG002  # the protocol has it
        """Return the same for all keys: there is one file."""
        return ""

    def location(self) -> str:
        """Return the file as a URL."""
        return f"sqlite:///{self._path}"

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message; once in twenty times, also remove some that have expired."""
        now = time.time()
        row = {"key": key, "now": now, "expires": now + ttl.total_seconds(), **row_of(message)}
        with self._connected() as execute:
            # It removes 100 at a time, so more go than come.
            if random.random() < 0.05:  # noqa: S311  # it keeps nothing secret
                execute(layout.CLEAN_UP, (now,))
            statement, raters = _for_raters(layout.STASH, may_replace)
            if execute(statement, row | raters).rowcount == 1:
                return True
            found = execute(layout.FIND_MESSAGE, (key, now)).fetchone()
            stored = found and message_of(*found)
            return stored == message or bool(
                stored and stored.nonce and stored.nonce == message.nonce
            )

    def remove(self, key: str) -> None:
        """Remove a message; SQLite removes its votes with it."""
        with self._connected() as execute:
            execute(layout.REMOVE, (key,))

    def export(
        self, prefix: str, is_ours: Callable[[str], bool], raters: Sequence[bytes]
    ) -> Iterator[tuple[int, Sequence[StoredMessage]]]:
        """Go through the keys in their order, and let others write between two batches."""
        last = prefix
        while True:
            with self._connected() as execute:
                keys = [key for (key,) in execute(layout.FIND_KEYS, (last,))]
                ours = [key for key in keys if key.startswith(prefix) and is_ours(key)]
                if not keys:
                    return
                statement, named = _for_raters(layout.FIND_THEIRS, raters)
                theirs = execute(statement, {"first": keys[0], "last": keys[-1]} | named).fetchall()
                found = [
                    each
                    for (key,) in theirs
                    if key.startswith(prefix) and is_ours(key)
                    for each in _stored_messages(execute, key, raters)
                ]
            last = keys[-1]
            yield len(ours), found
            if not last.startswith(prefix):
                return

    def forget(
        self,
        keys: Iterable[str],
        raters: Sequence[bytes] | None = None,
        outboxes: str = "",  # noqa: ARG002  # a mark is in its vote
    ) -> Iterator[Sequence[StoredMessage]]:
        """Remove in one transaction for each key, and empty the WAL at the end.

        Also raises `StoreUnavailable` if somebody who reads the file keeps the WAL from that.
        """
        for key in keys:
            with self._connected() as execute:
                execute("BEGIN IMMEDIATE")
                found = _stored_messages(execute, key, raters)
                if raters is None:
                    execute(layout.REMOVE, (key,))
                elif found:
                    for statement in layout.FORGET_THEIRS:
                        theirs, named = _for_raters(statement, raters)
                        execute(theirs, {"key": key} | named)
                execute("COMMIT")
            yield found
        self._empty_wal()

    def _empty_wal(self) -> None:
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        while True:
            with self._connected() as execute:
                is_read, *_ = execute(layout.CHECKPOINT).fetchone()
            if not is_read:
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"SQLite, {self._path}: all is removed, and can still be read in its WAL",
                    "End what has been reading the file for so long, such as a backup, and repeat.",
                )
            time.sleep(0.05)  # SQLite does not say when a reader ends

    def clean_up(self) -> None:
        """Remove at most a hundred messages that have expired; do not make a file for that."""
        if not self._path.exists():
            return
        with self._connected() as execute:
            execute(layout.CLEAN_UP, (time.time(),))

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message."""
        with self._connected() as execute:
            execute(layout.AMEND, {"key": key, **row_of(message)})

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Read, decide, and write; if somebody else wrote in between, begin again."""
        with self._connected() as execute:
            while (found := _find(execute, key, raters, vote_request.ttl)) is not None:
                message, revision, vote, voter, before = found
                if (vote or RETRACTED) == vote_request.vote:
                    return VoteResult("unchanged", revision, message, voter=voter)
                if revision >= vote_request.max_revisions and vote_request.vote != RETRACTED:
                    return VoteResult("too-many", revision, message, voter=voter)
                now = time.time()
                cast_at = max(int(now * 1000), before + 1)
                row = {
                    "key": key,
                    "voter": voter,
                    "revision": revision + 1,
                    "vote": vote_request.vote,
                    "cast_at": cast_at,
                    "keeps": now + vote_request.ttl.total_seconds(),
                    "outbox": vote_request.outbox,
                    "due": now + vote_request.lease,
                    "since": _since(vote_request.ttl),
                    "trace_id": message.trace_id,
                    "nonce": message.nonce,
                }
                if execute(layout.VOTE, row).rowcount == 1:
                    mark = (
                        Mark(vote_request.outbox, key, voter, cast_at)
                        if vote_request.outbox
                        else None
                    )
                    return VoteResult("accepted", revision + 1, message, cast_at, mark, voter)
            return VoteResult("unknown")

    def take(
        self,
        outbox: str,
        lease: float,
        limit: int,
        *,
        renew: Sequence[Mark] = (),
        release: Sequence[Mark] = (),
    ) -> list[Undelivered]:
        """Renew and end leases; give due votes a lease with an end of its own, and read those."""
        now = time.time()
        until = now + lease
        taken_until = until + random.random() / 1000  # noqa: S311  # two that take differ in this
        with self._connected() as execute:
            _for_marks(execute, layout.RENEW, renew, until)
            _for_marks(execute, layout.RENEW, release, now)
            row = {"outbox": outbox, "now": now, "until": taken_until, "limit": limit}
            if limit < 1 or not execute(layout.TAKE, row).rowcount:
                return []
            found = execute(layout.TAKEN, (outbox, taken_until)).fetchall()
        taken = []
        for key, voter, cast_at, revision, vote, *message, expires in found:
            mark = Mark(outbox, key, voter, cast_at)
            known = message_of(*message) if expires > now else None
            taken.append(Undelivered(mark, known, revision, vote) if known else Undelivered(mark))
        return taken

    def unmark(self, marks: Sequence[Mark]) -> None:
        """Take marks off votes that still bear them."""
        with self._connected() as execute:
            _for_marks(execute, layout.UNMARK, marks)

    def backlog(self, outbox: str) -> Backlog:
        """Count the marks."""
        with self._connected() as execute:
            return Backlog(*execute(layout.BACKLOG, (outbox,)).fetchone())

    def announce(self, key: str, value: bytes) -> list[bytes]:
        """Keep a value in a table of its own."""
        now = time.time()
        with self._connected() as execute:
            execute(layout.ANNOUNCE, (key, value, now))
            execute(layout.FORGET_ANNOUNCED, (now - 3600,))
            return [found for (found,) in execute(layout.ANNOUNCED, (key,))]

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Read each message and the caller's vote."""
        with self._connected() as execute:
            found = [_find(execute, key, raters, ttl) for key in keys]
        return [each and _stored_vote(*each) for each in found]

    def show(self, key: str) -> StoredMessage | None:
        """Read all that is kept of one message."""
        now = time.time()
        with self._connected() as execute:
            found = _stored_messages(execute, key)
        standing = (each for each in found if each.rateable_until and each.expires_at > now)
        return next(standing, None)

    def check(self, prefix: str = "", *, full: bool = False) -> list[Finding]:  # noqa: ARG002  # the protocol has it
        """Look at the file; only a `full` check checks its rows, and so reads all of it."""
        health = "ok"
        with self._connected() as execute:
            size = f"{self._path.stat().st_size:,} bytes"
            if full:
                rows = execute("SELECT count(*) FROM messages").fetchone()[0]
                health = execute("PRAGMA quick_check(1)").fetchone()[0]
                size = f"{rows} messages, {size}, {health}"
        findings = [Finding("SQLite file", health == "ok", size, MOVE)]
        if kind := file_system(self._path):
            findings.append(Finding("file system", not NETWORK.fullmatch(kind), kind, MOVE_TO_DISK))
        return findings


def _find(
    execute: Execute, key: str, raters: Sequence[bytes], ttl: timedelta
) -> tuple[Message, int, bytes | None, bytes, int] | None:
    """Return a message as one rater sees it: with the revision, the vote, its voter and time.

    The voter is the one of the rater's hashes that the vote is kept under, or would be. The time is
    that of the last vote on a replaced message, if that is later.
    """
    statement, named = _for_raters(layout.FIND, raters)
    row = {"key": key, "now": time.time(), "since": _since(ttl), "all": b"".join(raters)}
    found = execute(statement, row | named).fetchone()
    if found is None:
        return None
    *row, revision, vote, voter, cast_at = found
    message = message_of(*row)
    return message, revision or 0, vote, voter or message.owner or raters[0], cast_at


def _stored_vote(
    message: Message, revision: int, vote: bytes | None, voter: bytes, _: int
) -> StoredVote:
    return StoredVote(message) if vote is None else StoredVote(message, revision, vote, voter)


def _stored_messages(
    execute: Execute, key: str, raters: Sequence[bytes] | None = None
) -> list[StoredMessage]:
    """Return what is kept of a rater under a key, or of everybody; replaced messages come last."""
    votes: dict[int, list[CastVote]] = {}
    for older, voter, revision, vote, cast_at, is_undelivered in execute(layout.FIND_VOTES, (key,)):
        if raters is None or voter in raters:
            cast = CastVote(voter, revision, vote, cast_at, bool(is_undelivered))
            votes.setdefault(older, []).append(cast)
    found = []
    for older, expires, rateable, *row in execute(layout.FIND_MESSAGES, (key,)):
        message = message_of(*row)
        if raters is not None and message.owner not in raters:
            if older not in votes:
                continue
            message = message._replace(content=None)
        found.append(StoredMessage(key, message, expires, rateable, votes.get(older, [])))
    return found


def _for_raters(statement: str, raters: Sequence[bytes]) -> tuple[str, dict[str, bytes]]:
    """Return a statement with a parameter for each of these raters, and the parameters."""
    named = {f"rater_{number}": rater for number, rater in enumerate(raters)}
    return statement.format(raters=", ".join(f":{name}" for name in named)), named


def _since(ttl: timedelta) -> int:
    """Return the time in milliseconds before which a vote was cast too long ago to be read."""
    return int((time.time() - ttl.total_seconds()) * 1000)


def _for_marks(execute: Execute, statement: str, marks: Sequence[Mark], *after: Any) -> None:
    """Execute a statement for the votes that bear these marks; `after` is its last parameters."""
    for first in range(0, len(marks), layout.MARKS_PER_STATEMENT):
        some = marks[first : first + layout.MARKS_PER_STATEMENT]
        values = [value for _, key, voter, cast_at in some for value in (key, voter, cast_at)]
        execute(statement.format(marks=", ".join(["(?, ?, ?)"] * len(some))), (*values, *after))
