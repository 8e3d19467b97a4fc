"""What is kept, and what a store can do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from ..findings import Finding

ANYONE = b""
"""The rater of an anonymous visitor, and the owner of a message that anyone may rate."""

RETRACTED = b"null"
"""The vote of a rater who took it back."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Message(NamedTuple):
    """One generated message: `owner` is the hash of the rater it was made for."""

    trace_id: str
    owner: bytes = ANYONE
    context: Mapping[str, Any] = NOTHING
    content: str | None = None

    def voter(self, raters: Sequence[bytes]) -> bytes | None:
        """Return under which hash the caller votes on this message, `None` if not at all.

        `raters` are the caller's hashes under each of the app's secret keys, the current first.
        """
        if self.owner == ANYONE:
            return raters[0]
        return self.owner if self.owner in raters else None


class Ballot(NamedTuple):
    """A vote to cast: opaque bytes, of which `RETRACTED` is the one that needs an earlier vote.

    `attempt`, 8 bytes, is unique to the caller's attempt, so that the same ballot may be sent
    twice. A vote that stands but was never confirmed is taken over from the attempt `instead_of`.
    """

    vote: bytes
    attempt: bytes
    max_revisions: int
    instead_of: bytes = b""


class Confirmation(NamedTuple):
    """That the event of a vote, as `attempt` cast it, was recorded."""

    key: str
    voter: bytes
    attempt: bytes


Status = Literal["accepted", "unchanged", "pending", "too-many", "unknown"]


class Outcome(NamedTuple):
    """What became of a vote.

    `accepted`: it stands now, as the attempt that asked; `unchanged`: it stood and was recorded;
    `pending`: it stands, and the attempt `attempt` is still to confirm that it was recorded;
    `too-many`: it would be a revision over the limit; `unknown`: no message for this rater.
    """

    status: Status
    revision: int = 0
    message: Message | None = None
    attempt: bytes = b""


class Standing(NamedTuple):
    """One message as one rater sees it, and the rater's vote on it, if there is one.

    `pending`: the vote stands, but is still to be confirmed as recorded.
    """

    message: Message
    revision: int = 0
    vote: bytes | None = None
    pending: bool = False


class Shown(NamedTuple):
    """All that is kept of one message; `expires_in` is in seconds, `votes` by the rater's hash."""

    message: Message
    expires_in: float
    votes: Mapping[bytes, Standing]


class Store(Protocol):
    """Keeps messages, and one vote for each of a message's raters, until the message expires.

    Every method raises `StoreUnavailable` where the store fails, and takes a bounded time.
    """

    def part_of(self, key: str) -> str:
        """Return what keeps `key` and can be out on its own, such as a cluster's node; no I/O."""
        ...

    def stash(self, key: str, message: Message, ttl: timedelta) -> bool:
        """Keep a message; `False` where the key holds another one already."""
        ...

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message, where it is kept, and nothing of its votes."""
        ...

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Cast a vote in one atomic step: find the message, compare, count the revision."""
        ...

    def confirm(self, confirmations: Sequence[Confirmation]) -> None:
        """Note that votes were recorded. Nobody waits for this."""
        ...

    def read(self, keys: Sequence[str], raters: Sequence[bytes]) -> list[Standing | None]:
        """Read messages and the caller's votes in one round trip; `None` for an unknown one."""
        ...

    def show(self, key: str) -> Shown | None:
        """Read all that is kept of one message, for an operator."""
        ...

    def inspect(self) -> list[Finding]:
        """Look at how the store is set up, for an operator; raises `StoreUnavailable`."""
        ...
