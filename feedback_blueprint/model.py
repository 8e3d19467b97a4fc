"""What all rooms speak of: messages, votes, and what becomes of them."""

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
"""How long a store keeps a vote, unless the caller says otherwise."""

RETRACTED = b"null"
"""The vote of a rater who took it back."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Message(NamedTuple):
    """One generated message: `owner` is the hash of the rater it was made for.

    `nonce` is 8 random bytes if the message may replace another under its key. It tells the two
    apart.
    """

    trace_id: str
    owner: bytes = ANYONE
    context: Mapping[str, Any] = NOTHING
    content: str | None = None
    nonce: bytes = b""


class Mark(NamedTuple):
    """What a vote bears until New Relic has its event: which vote it is, and in which outbox.

    `cast_at` is in milliseconds since the epoch, by the store's clock. If one rater votes twice
    under one key, the later vote has the greater one.
    """

    outbox: str
    key: str
    voter: bytes
    cast_at: int


class VoteRequest(NamedTuple):
    """A vote to cast, as opaque bytes. `RETRACTED` needs an earlier vote, and has no limit.

    The store marks it in `outbox`, if that is given. For `lease` seconds it is the caller's to
    deliver; after that, anybody may take it over. A vote can be read and changed for `ttl`.
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
    be a revision over the limit; `unknown`: this rater has no such message. `cast_at` is in
    milliseconds since the epoch, by the store's clock. `voter` is the hash that it is kept under.
    """

    status: Status
    revision: int = 0
    message: Message | None = None
    cast_at: int = 0
    mark: Mark | None = None
    voter: bytes = ANYONE


class StoredVote(NamedTuple):
    """One message as one rater sees it, and the rater's vote on it, if there is one.

    `voter` is the one of the rater's hashes that the vote is kept under.
    """

    message: Message
    revision: int = 0
    vote: bytes | None = None
    voter: bytes = ANYONE


class Undelivered(NamedTuple):
    """A marked vote that this process took over; `message` is `None` if it has expired."""

    mark: Mark
    message: Message | None = None
    revision: int = 0
    vote: bytes = RETRACTED


class Backlog(NamedTuple):
    """How many votes are marked, and when the oldest of them was cast, in a mark's milliseconds."""

    votes: int
    oldest: int | None


class CastVote(NamedTuple):
    """One vote: by whom, and when, in a mark's milliseconds."""

    voter: bytes
    revision: int
    vote: bytes
    cast_at: int
    is_undelivered: bool


class StoredMessage(NamedTuple):
    """A message under a key, and votes on it: all of them, or one rater's.

    In seconds since the epoch: it all goes at `expires_at`, and nobody new can rate the message
    from `rateable_until` on. That is 0 for a message that another replaced.
    """

    key: str
    message: Message
    expires_at: float
    rateable_until: float
    votes: Sequence[CastVote]


class Receipt(NamedTuple):
    """What became of feedback that the blueprint took.

    `accepted` and `retracted`: it stands, and will arrive; `unchanged`: the vote stood already.
    """

    message_id: str
    feedback_id: str
    revision: int
    status: Literal["accepted", "unchanged", "retracted"]


class Vote(NamedTuple):
    """What one rater says about one message; a store keeps it as a JSON array."""

    rating: str | int
    category: str | None = None
    message: str | None = None
    metadata: Mapping[str, Any] | None = None

    def pack(self) -> bytes:
        """Return the same bytes for the same vote, as few as possible."""
        metadata = dict(sorted(self.metadata.items())) if self.metadata else None
        values: list[Any] = [self.rating, self.category, self.message or None, metadata]
        while values[-1] is None:
            values.pop()
        return COMPACT.encode(values).encode()

    @classmethod
    def unpack(cls, vote: bytes | None) -> Vote | None:
        """Return what was packed; `None` if there is no vote, or the rater took it back."""
        return cls(*json.loads(vote)) if vote and vote != RETRACTED else None
