"""What all others speak of: messages, votes, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


ANYONE = b""
"""The rater of an anonymous visitor, and the owner of a message that anyone may rate."""

DEFAULT_VOTE_TTL = timedelta(days=30)
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


class Mark(NamedTuple):
    """What a vote bears until New Relic has its event: which vote it is, and of which outbox.

    `cast_at` is when, in milliseconds since the epoch by the store's clock: of two votes of one
    rater under one key, the later has the greater one.
    """

    outbox: str
    key: str
    voter: bytes
    cast_at: int


class VoteRequest(NamedTuple):
    """A vote to cast: opaque bytes, of which `RETRACTED` needs an earlier vote and knows no limit.

    It is marked in `outbox`, if it names one. For `lease` seconds it is left to the caller; after
    that, anybody may take it over. For `ttl` it can be read and changed, as can one before it.
    """

    vote: bytes
    max_revisions: int
    outbox: str | None = None
    lease: float = 0.0
    ttl: timedelta = DEFAULT_VOTE_TTL


Status = Literal["accepted", "unchanged", "too-many", "unknown"]


class VoteResult(NamedTuple):
    """What became of a vote.

    `accepted`: it stands now, and is marked; `unchanged`: it stood already; `too-many`: it would
    be a revision over the limit; `unknown`: no message for this rater. `cast_at` is when, in
    milliseconds since the epoch by the store's clock. `voter` is under which hash it is kept.
    """

    status: Status
    revision: int = 0
    message: Message | None = None
    cast_at: int = 0
    mark: Mark | None = None
    voter: bytes = ANYONE


class StoredVote(NamedTuple):
    """One message as one rater sees it, and the rater's vote on it, if there is one.

    `undelivered_since`: the vote is still marked; when it was cast, as a mark says it. `voter` is
    under which of the rater's hashes the vote is kept.
    """

    message: Message
    revision: int = 0
    vote: bytes | None = None
    undelivered_since: int | None = None
    voter: bytes = ANYONE


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
    votes: Mapping[bytes, StoredVote]


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


class Receipt(NamedTuple):
    """What became of feedback that was taken.

    `accepted` and `retracted`: it stands, and will arrive; `unchanged`: the vote stood already.
    """

    message_id: str
    feedback_id: str
    revision: int
    status: Literal["accepted", "unchanged", "retracted"]


class Vote(NamedTuple):
    """What one rater says about one message; kept as a JSON array."""

    rating: str | int
    category: str | None = None
    message: str | None = None
    metadata: Mapping[str, Any] | None = None

    def pack(self) -> bytes:
        """Return the same bytes for the same vote, and as few as may be."""
        metadata = dict(sorted(self.metadata.items())) if self.metadata else None
        values: list[Any] = [self.rating, self.category, self.message or None, metadata]
        while values[-1] is None:
            values.pop()
        return COMPACT.encode(values).encode()

    @classmethod
    def unpack(cls, vote: bytes | None) -> Vote | None:
        """Return what was packed; `None` where there is no vote, or it was retracted."""
        return cls(*json.loads(vote)) if vote and vote != RETRACTED else None
