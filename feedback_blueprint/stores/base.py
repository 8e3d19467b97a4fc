"""What is kept, and what a store can do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import StoreUnavailable
from ..findings import Finding

ANYONE = b""
"""The rater of an anonymous visitor, and the owner of a message that anyone may rate."""

MONTH = timedelta(days=30)
"""How long a vote is kept, unless it is said."""

RETRACTED = b"null"
"""The vote of a rater who took it back."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Message(NamedTuple):
    """One generated message: `owner` is the hash of the rater it was made for.

    `nonce` are 8 random bytes of one that may take the place of another under its key: what tells
    it from that.
    """

    trace_id: str
    owner: bytes = ANYONE
    context: Mapping[str, Any] = NOTHING
    content: str | None = None
    nonce: bytes = b""

    def voter(self, raters: Sequence[bytes]) -> bytes | None:
        """Return under which hash the caller votes on this message, `None` if not at all.

        `raters` are the caller's hashes under each of the app's secret keys, the current first.
        """
        if self.owner == ANYONE:
            return raters[0]
        return self.owner if self.owner in raters else None


class Mark(NamedTuple):
    """What a vote bears until New Relic has its event: which vote it is, and of which outbox.

    `cast_at` is when, in milliseconds since the epoch by the store's clock: of two votes of one
    rater under one key, the later has the greater one.
    """

    outbox: str
    key: str
    voter: bytes
    cast_at: int


class Ballot(NamedTuple):
    """A vote to cast: opaque bytes, of which `RETRACTED` needs an earlier vote and knows no limit.

    It is marked in `outbox`, if it names one. For `lease` seconds it is left to the caller; after
    that, anybody may take it over. For `ttl` it can be read and changed, as can one before it.
    """

    vote: bytes
    max_revisions: int
    outbox: str | None = None
    lease: float = 0.0
    ttl: timedelta = MONTH


Status = Literal["accepted", "unchanged", "too-many", "unknown"]


class Outcome(NamedTuple):
    """What became of a vote.

    `accepted`: it stands now, and is marked; `unchanged`: it stood already; `too-many`: it would
    be a revision over the limit; `unknown`: no message for this rater. `cast_at` is when, in
    milliseconds since the epoch by the store's clock.
    """

    status: Status
    revision: int = 0
    message: Message | None = None
    cast_at: int = 0
    mark: Mark | None = None


class Standing(NamedTuple):
    """One message as one rater sees it, and the rater's vote on it, if there is one.

    `undelivered_since`: the vote is still marked; when it was cast, as a mark says it.
    """

    message: Message
    revision: int = 0
    vote: bytes | None = None
    undelivered_since: int | None = None


class Undelivered(NamedTuple):
    """A marked vote that was taken over; without a `message` if that has expired."""

    mark: Mark
    message: Message | None = None
    revision: int = 0
    vote: bytes = RETRACTED


class Backlog(NamedTuple):
    """How many votes are marked, and when the oldest of them was cast, as a mark says it."""

    votes: int
    oldest: int | None


class Shown(NamedTuple):
    """All that is kept of one message, `votes` by the rater's hash.

    In seconds: for `rateable_for` anyone new can rate it, in `expires_in` it goes.
    """

    message: Message
    rateable_for: float
    expires_in: float
    votes: Mapping[bytes, Standing]


class KeptVote(NamedTuple):
    """One vote, by whom, and when it was cast, as a mark says it."""

    voter: bytes
    revision: int
    vote: bytes
    cast_at: int
    is_undelivered: bool


class Kept(NamedTuple):
    """What is kept under a key of one rater: votes, and the message, with its text if it is theirs.

    A message that another took the place of is one of its own. `until` is when all of it goes, in
    seconds since the epoch.
    """

    key: str
    message: Message
    until: float
    votes: Sequence[KeptVote]


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
    Every method raises `StoreUnavailable` where the store fails, and takes a bounded time.
    """

    def part_of(self, key: str) -> str:
        """Return what keeps `key` and can be out on its own, such as a cluster's node; no I/O."""
        ...

    def place(self) -> str:
        """Return where this keeps things, for an operator: nothing that is secret; no I/O."""
        ...

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, instead_of: Sequence[bytes] = ()
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

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
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
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = MONTH
    ) -> list[Standing | None]:
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

    def inspect(self, prefix: str = "", *, full: bool = False) -> list[Finding]:
        """Look at how the store is set up, for an operator; raises `StoreUnavailable`.

        `prefix` is how keys of messages begin. It takes no longer if there are more messages,
        unless it is to be `full`.
        """
        ...
