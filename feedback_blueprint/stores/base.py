"""What a store can do with messages and votes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Protocol

from ..errors import StoreUnavailable
from ..model import (
    DEFAULT_VOTE_TTL,
    Backlog,
    Finding,
    Mark,
    Message,
    StoredMessage,
    StoredVote,
    Undelivered,
    VoteRequest,
    VoteResult,
)

OLDEST_AMONG = 1000
"""Marks among which a store seeks the oldest: to read them all would keep others waiting."""


def of_newer_version(what: str) -> StoreUnavailable:
    """Return the error for what a newer version of this package wrote, in a layout unknown here."""
    return StoreUnavailable(
        f"{what} was written by a newer version of feedback_blueprint",
        "Install that version again, or a newer one: nothing is lost, so remove nothing.",
    )


class Store(Protocol):
    """Keeps messages, and one vote for each of a message's raters.

    Until `rateable_until`, everyone whom a message was made for can rate it. If it has votes, the
    store keeps it until the last of them expires, for their raters. Nobody else can see it then,
    but its key stays taken.

    `raters` are the caller's hashes under each of the app's secret keys, the current one first. If
    a message was made for one of them, a vote on it is kept under that one. If it was made for
    anyone, a vote is kept under the first that already has one there, or under the current one.

    What does I/O raises `StoreUnavailable` if the store fails. What a request calls takes a bounded
    time.
    """

    def node_of(self, key: str) -> str:
        """Return the node that keeps `key` and can be down on its own, as in a cluster; no I/O."""
        ...

    def location(self) -> str:
        """Return where this keeps things, for an operator, and nothing that is secret; no I/O."""
        ...

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message; return `False` if the key has another one already.

        If that one's owner is one of `may_replace`, which are the hashes of one rater, the new
        message replaces it. The new one then has a nonce, and no votes. Votes on the old one that
        are marked stay so.
        """
        ...

    def amend(self, key: str, message: Message) -> None:
        """Replace context and text of a message, if this one is kept, and nothing of its votes."""
        ...

    def remove(self, key: str) -> None:
        """Remove a message and its votes; none of them may be marked."""
        ...

    def export(
        self, prefix: str, is_ours: Callable[[str], bool], raters: Sequence[bytes]
    ) -> Iterator[tuple[int, Sequence[StoredMessage]]]:
        """Yield what is kept of a rater under keys that begin with `prefix` and `is_ours`.

        A message's text is there if the message was made for the rater. Yields in batches, most of
        them empty, each with the number of messages that the store looked at for it. May miss what
        somebody writes meanwhile.
        """
        ...

    def forget(
        self, keys: Iterable[str], raters: Sequence[bytes] | None = None, outboxes: str = ""
    ) -> Iterator[Sequence[StoredMessage]]:
        """Remove what is kept of a rater under each of the keys, in one step, and yield it.

        Removes and yields what `export` finds there, with the marks; without `raters` it is
        everything. `outboxes` is what the names of all outboxes begin with. After its end, nobody
        can read any of it in a SQLite file. Redis's append-only file has it until a rewrite.
        """
        ...

    def clean_up(self) -> None:
        """Remove some of what has expired, if the store does not do so by itself."""
        ...

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Cast a vote in one atomic step: find the message, compare, count, mark."""
        ...

    def take(
        self,
        outbox: str,
        lease: float,
        limit: int,
        *,
        renew: Sequence[Mark] = (),
        release: Sequence[Mark] = (),
    ) -> list[Undelivered]:
        """Take over up to `limit` votes whose lease has ended, for `lease` seconds.

        First begins the leases of the marks in `renew` anew, and ends those in `release`. In a
        cluster it may take some more votes, because it asks each node for a part of them.
        """
        ...

    def unmark(self, marks: Sequence[Mark]) -> None:
        """Take marks off votes that were delivered, or never can be."""
        ...

    def backlog(self, outbox: str) -> Backlog:
        """Count the votes that are marked, and find the oldest of the `OLDEST_AMONG` due first.

        If more are marked, an older one may be held by a process that renews its lease.
        """
        ...

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Read messages and the caller's votes in one round trip; `None` for an unknown message.

        A vote that was cast longer than `ttl` ago is not read.
        """
        ...

    def announce(self, key: str, value: bytes) -> list[bytes]:
        """Keep a value for an hour; return what all processes announced within the last one."""
        ...

    def show(self, key: str) -> StoredMessage | None:
        """Read all that is kept of one message, for an operator."""
        ...

    def check(self, prefix: str = "", *, full: bool = False) -> list[Finding]:
        """Look at how the store is set up, for an operator.

        `prefix` is what keys of messages begin with. If the check is not `full`, it takes no longer
        for more messages.
        """
        ...
