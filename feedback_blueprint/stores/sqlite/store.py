"""Messages and votes in one SQLite file: for one host, with any number of processes and threads.

Each step is one statement, which SQLite makes a transaction by itself: a thread that let go of the
interpreter between statements, with the file locked, would make all others wait for its turn.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from ...errors import StoreUnavailable
from ...findings import Finding
from ...model import (
    DEFAULT_VOTE_TTL,
    RETRACTED,
    Backlog,
    Kept,
    KeptVote,
    Mark,
    Message,
    Shown,
    StoredVote,
    Undelivered,
    VoteRequest,
    VoteResult,
)
from .client import MOVE, Client, Execute
from .layout import (
    AMEND,
    ANNOUNCE,
    ANNOUNCED,
    BACKLOG,
    CHECKPOINT,
    CLEAN_UP,
    FIND,
    FIND_KEPT,
    FIND_KEPT_VOTES,
    FIND_KEYS,
    FIND_THEIRS,
    FIND_VOTES,
    FORGET,
    FORGET_THEIRS,
    LOOK,
    MARKS,
    REMOVE,
    RENEW,
    STASH,
    TAKE,
    TAKEN,
    UNMARK,
    VOTE,
    message_of,
    row_of,
)
from .mounts import NETWORK, file_system

LOCAL = (
    "Move the file to a disk of this host, or use Redis: votes would be lost, or the file broken."
)
"""What to do about a network file system (sqlite.org/wal.html)."""


MAX_CHECKPOINT = 10.0
"""Seconds to wait for others to end their reading, before what was removed is in no file."""


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

    def place(self) -> str:
        """Return the file as a URL."""
        return f"sqlite:///{self._path}"

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message, and now and then remove some that have expired."""
        now = time.time()
        row = {"key": key, "now": now, "expires": now + ttl.total_seconds(), **row_of(message)}
        with self._connected() as execute:
            # At 100 a time, more go than come.
            if random.random() < 0.05:  # noqa: S311  # it keeps nothing secret
                execute(CLEAN_UP, (now,))
            statement, raters = _for_raters(STASH, may_replace)
            if execute(statement, row | raters).rowcount == 1:
                return True
            found = execute(FIND, (key, now)).fetchone()
            kept = found and message_of(*found[:5])
            return kept == message or bool(kept and kept.nonce and kept.nonce == message.nonce)

    def remove(self, key: str) -> None:
        """Remove a message; its votes go with it."""
        with self._connected() as execute:
            execute(REMOVE, (key,))

    def kept(
        self, prefix: str, is_ours: Callable[[str], bool], raters: Sequence[bytes]
    ) -> Iterator[tuple[int, Sequence[Kept]]]:
        """Go through the keys in their order: others write between two batches."""
        last = prefix
        while True:
            with self._connected() as execute:
                keys = [key for (key,) in execute(FIND_KEYS, (last,))]
                ours = [key for key in keys if key.startswith(prefix) and is_ours(key)]
                if not keys:
                    return
                statement, named = _for_raters(FIND_THEIRS, raters)
                theirs = execute(statement, {"first": keys[0], "last": keys[-1]} | named).fetchall()
                found = [
                    each
                    for (key,) in theirs
                    if key.startswith(prefix) and is_ours(key)
                    for each in _kept(execute, key, raters)
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
    ) -> Iterator[Sequence[Kept]]:
        """Remove in one transaction for each key, and at last from the WAL.

        Raises `StoreUnavailable` as well if somebody's reading keeps it there.
        """
        for key in keys:
            with self._connected() as execute:
                execute("BEGIN IMMEDIATE")
                found = _kept(execute, key, raters)
                if raters is None:
                    execute(REMOVE, (key,))
                elif found:
                    for statement in FORGET_THEIRS:
                        theirs, named = _for_raters(statement, raters)
                        execute(theirs, {"key": key} | named)
                execute("COMMIT")
            yield found
        self._empty_wal()

    def _empty_wal(self) -> None:
        deadline = time.monotonic() + MAX_CHECKPOINT
        while True:
            with self._connected() as execute:
                is_read, *_ = execute(CHECKPOINT).fetchone()
            if not is_read:
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"SQLite, {self._path}: all is removed, and can still be read in its WAL",
                    "End what has been reading the file for so long, such as a backup, and repeat.",
                )
            time.sleep(0.05)

    def clean_up(self) -> None:
        """Remove a hundred messages, at most, that have expired; make no file for that."""
        if not self._path.exists():
            return
        with self._connected() as execute:
            execute(CLEAN_UP, (time.time(),))

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message."""
        with self._connected() as execute:
            execute(AMEND, {"key": key, **row_of(message)})

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Look, decide, and write if nobody else has in between; else look again."""
        with self._connected() as execute:
            while (seen := _look(execute, key, raters, vote_request.ttl)) is not None:
                message, revision, stored, voter, before = seen
                if stored == vote_request.vote or (
                    stored is None and vote_request.vote == RETRACTED
                ):
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
                if execute(VOTE, row).rowcount == 1:
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
        held: Sequence[Mark] = (),
        let_go: Sequence[Mark] = (),
    ) -> list[Undelivered]:
        """Renew and let go; mark what is due with the end of the lease, and read what bears it."""
        now = time.time()
        until = now + lease
        taken_until = until + random.random() / 1000  # noqa: S311  # of two that take, each its own
        with self._connected() as execute:
            _of_marks(execute, RENEW, held, until)
            _of_marks(execute, RENEW, let_go, now)
            row = {"outbox": outbox, "now": now, "until": taken_until, "limit": limit}
            if limit < 1 or not execute(TAKE, row).rowcount:
                return []
            found = execute(TAKEN, (outbox, taken_until)).fetchall()
        taken = []
        for key, voter, cast_at, revision, vote, *message, expires in found:
            mark = Mark(outbox, key, voter, cast_at)
            kept = message_of(*message) if expires > now else None
            taken.append(Undelivered(mark, kept, revision, vote) if kept else Undelivered(mark))
        return taken

    def unmark(self, marks: Sequence[Mark]) -> None:
        """Take marks off votes that still bear them."""
        with self._connected() as execute:
            _of_marks(execute, UNMARK, marks)

    def backlog(self, outbox: str) -> Backlog:
        """Count the marks."""
        with self._connected() as execute:
            return Backlog(*execute(BACKLOG, (outbox,)).fetchone())

    def announce(self, key: str, value: bytes) -> list[bytes]:
        """Keep a value in a table of its own."""
        now = time.time()
        with self._connected() as execute:
            execute(ANNOUNCE, (key, value, now))
            execute(FORGET, (now - 3600,))
            return [found for (found,) in execute(ANNOUNCED, (key,))]

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Read each message and the caller's vote."""
        with self._connected() as execute:
            looks = [_look(execute, key, raters, ttl) for key in keys]
        return [look and _standing(look) for look in looks]

    def show(self, key: str) -> Shown | None:
        """Read all that is kept of one message."""
        with self._connected() as execute:
            now = time.time()
            found = execute(FIND, (key, now)).fetchone()
            if found is None:
                return None
            *row, rateable, expires = found
            message = message_of(*row)
            votes = execute(FIND_VOTES, (key,))
            return Shown(
                message,
                rateable - now,
                expires - now,
                {
                    voter: StoredVote(message, n, vote, marked, voter)
                    for voter, n, vote, marked in votes
                },
            )

    def check(self, prefix: str = "", *, full: bool = False) -> list[Finding]:  # noqa: ARG002  # the protocol has it
        """Look at the file; count and check its rows only if told to, as that reads all of it."""
        damage = "ok"
        with self._connected() as execute:
            seen = f"{self._path.stat().st_size:,} bytes"
            if full:
                rows = execute("SELECT count(*) FROM messages").fetchone()[0]
                damage = execute("PRAGMA quick_check(1)").fetchone()[0]
                seen = f"{rows} messages, {seen}, {damage}"
        findings = [Finding("SQLite file", damage == "ok", seen, MOVE)]
        if kind := file_system(self._path):
            findings.append(Finding("file system", not NETWORK.fullmatch(kind), kind, LOCAL))
        return findings


def _look(
    execute: Execute, key: str, raters: Sequence[bytes], ttl: timedelta
) -> tuple[Message, int, bytes | None, bytes, int] | None:
    """Return a message as one rater sees it: with the revision, the vote, its voter and time.

    The voter is under which of the rater's hashes it is kept, or will be. The time is that of the
    last vote on an older message, if that is later.
    """
    statement, named = _for_raters(LOOK, raters)
    row = {"key": key, "now": time.time(), "since": _since(ttl), "all": b"".join(raters)}
    found = execute(statement, row | named).fetchone()
    if found is None:
        return None
    *row, revision, vote, voter, cast_at = found
    message = message_of(*row)
    return message, revision or 0, vote, voter or message.owner or raters[0], cast_at


def _standing(look: tuple[Message, int, bytes | None, bytes, int]) -> StoredVote:
    message, revision, vote, voter, _ = look
    if vote is None:
        return StoredVote(message)
    return StoredVote(message, revision, vote, voter=voter)


def _kept(execute: Execute, key: str, raters: Sequence[bytes] | None) -> list[Kept]:
    """Return what is kept of a rater under a key, or of everybody: the standing message first."""
    votes: dict[int, list[KeptVote]] = {}
    for older, voter, revision, vote, cast_at, is_undelivered in execute(FIND_KEPT_VOTES, (key,)):
        if raters is None or voter in raters:
            kept = KeptVote(voter, revision, vote, cast_at, bool(is_undelivered))
            votes.setdefault(older, []).append(kept)
    found = []
    for older, until, *row in execute(FIND_KEPT, (key,)):
        message = message_of(*row)
        if raters is not None and message.owner not in raters:
            if older not in votes:
                continue
            message = message._replace(content=None)
        found.append(Kept(key, message, until, votes.get(older, [])))
    return found


def _for_raters(statement: str, raters: Sequence[bytes]) -> tuple[str, dict[str, bytes]]:
    """Return a statement that takes these raters, and their parameters."""
    named = {f"rater_{number}": rater for number, rater in enumerate(raters)}
    return statement.format(raters=", ".join(f":{name}" for name in named)), named


def _since(ttl: timedelta) -> int:
    """Return when the oldest vote can have been cast that can still be read."""
    return int((time.time() - ttl.total_seconds()) * 1000)


def _of_marks(execute: Execute, statement: str, marks: Sequence[Mark], *after: Any) -> None:
    """Execute a statement for the votes that bear these marks."""
    for first in range(0, len(marks), MARKS):
        some = marks[first : first + MARKS]
        values = [value for _, key, voter, cast_at in some for value in (key, voter, cast_at)]
        execute(statement.format(marks=", ".join(["(?, ?, ?)"] * len(some))), (*values, *after))
