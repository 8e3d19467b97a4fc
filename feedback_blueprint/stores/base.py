"""What a store can do with messages and votes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Protocol

from ..errors import StoreUnavailable
from ..findings import Finding
from ..model import (
    DEFAULT_VOTE_TTL,
    Backlog,
    Kept,
    Mark,
    Message,
    Shown,
    StoredVote,
    Undelivered,
    VoteRequest,
    VoteResult,
)


def of_newer_version(what: str) -> StoreUnavailable:
    """Say that a version of this package wrote something that keeps it in a way not known here."""
    return StoreUnavailable(
        f"{what} was written by a newer version of feedback_blueprint",
        "Install that version again, or a newer one: nothing is lost, so remove nothing.",
    )


class Store(Protocol):
    """Keeps messages, and one vote for each of a message's raters.

    A message can be rated until it expires, and is kept until its last vote does, for those who
    have one that has not. For all others it is unknown then, and its key is taken all the same.
    `raters` are the caller's hashes under each of the app's secret keys, the current first. A vote
    on a message that was made for one of them is kept under that; on a message that was made for
    anyone, under the first that has a vote there, or else the current one.
    Every method raises `StoreUnavailable` where the store fails, and takes a bounded time.
    """

    def node_of(self, key: str) -> str:
        """Return what keeps `key` and can be out on its own, such as a cluster's node; no I/O."""
        ...

    def place(self) -> str:
        """Return where this keeps things, for an operator: nothing that is secret; no I/O."""
        ...

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message; `False` where the key holds another one already.

        Unless that is one of these raters, who are the hashes of one: then the new one, which has a
        nonce, takes its place and has no votes. Those on the old one that are marked stay so.
        """
        ...

    def amend(self, key: str, message: Message) -> None:
        """Replace context and text of a message, if this one is kept, and nothing of its votes."""
        ...

    def remove(self, key: str) -> None:
        """Remove a message with its votes, which must bear no marks."""
        ...

    def kept(
        self, prefix: str, is_ours: Callable[[str], bool], raters: Sequence[bytes]
    ) -> Iterator[tuple[int, Sequence[Kept]]]:
        """Yield what is kept of a rater, whose hashes these are, under keys that begin so.

        In batches, of which most are empty: each comes with the number of messages that were looked
        at for it, those alone whose key `is_ours`. What is written meanwhile may be missed.
        """
        ...

    def forget(
        self, keys: Iterable[str], raters: Sequence[bytes] | None = None, outboxes: str = ""
    ) -> Iterator[Sequence[Kept]]:
        """Remove what is kept of a rater under each of the keys, in one step, and yield it.

        That is as `kept` finds it, with the marks; without `raters` it is all there is. `outboxes`
        is how the names of all outboxes begin. At its end nothing of it can be read in a file.
        """
        ...

    def clean_up(self) -> None:
        """Remove some of what has expired, if that does not go by itself."""
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
        held: Sequence[Mark] = (),
        let_go: Sequence[Mark] = (),
    ) -> list[Undelivered]:
        """Take over up to `limit` votes that nobody has a lease of, for `lease` seconds.

        In a cluster it may be some more: each node is asked for a part of them. First the leases of
        those `held` begin anew, and those that are `let_go` end.
        """
        ...

    def unmark(self, marks: Sequence[Mark]) -> None:
        """Take marks off, of votes that were delivered or never can be."""
        ...

    def backlog(self, outbox: str) -> Backlog:
        """Look at what is marked."""
        ...

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Read messages and the caller's votes in one round trip; `None` for an unknown one.

        `ttl` is for how long a vote can be read.
        """
        ...

    def announce(self, key: str, value: bytes) -> list[bytes]:
        """Keep a value of this process for an hour; return what processes announced within one."""
        ...

    def show(self, key: str) -> Shown | None:
        """Read all that is kept of one message, for an operator."""
        ...

    def check(self, prefix: str = "", *, full: bool = False) -> list[Finding]:
        """Look at how the store is set up, for an operator; raises `StoreUnavailable`.

        `prefix` is how keys of messages begin. It takes no longer if there are more messages,
        unless it is to be `full`.
        """
        ...
