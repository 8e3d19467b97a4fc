"""What all layers speak of: messages, votes, what becomes of them, and their keys in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

COMPACT_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

ANYONE = b""
"""The rater of an anonymous visitor, and the owner of a message that anyone may rate."""

DEFAULT_VOTE_TTL = timedelta(days=30)
"""How long a store keeps a vote, unless the caller says otherwise."""

RETRACTED = b"null"
"""The vote of a rater who took it back."""

NO_CONTEXT: Mapping[str, Any] = MappingProxyType({})

OUTBOX = "!outbox:"
"""Stands after the prefix in the name of an outbox.

No message has such a key. If its ID has a colon, a colon or the blueprint's name stands before it,
and `quote()` leaves no `!` in the name.
"""

FINGERPRINTS = "!keys:"
"""The same for the fingerprints of the app's secret keys."""

CHECK = "!check:"
"""The same for the vote that a check casts."""


class Message(NamedTuple):
    """One generated message: `owner` is the hash of the rater it was made for.

    `nonce` is 8 random bytes if the message may replace another under its key. It tells the two
    apart.
    """

    trace_id: str
    owner: bytes = ANYONE
    context: Mapping[str, Any] = NO_CONTEXT
    content: str | None = None
    nonce: bytes = b""


class Mark(NamedTuple):
    """What a vote has until New Relic has its event: which vote it is, and in which outbox.

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
    """How many votes are marked, and when the oldest was cast, in a mark's milliseconds.

    If a store has thousands of marks, it is the oldest of those that are due first.
    """

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

    Both times are in seconds since the epoch. At `expires_at` all of it goes. From `rateable_until`
    on, nobody new can rate the message; it is 0 for a message that another replaced.
    """

    key: str
    message: Message
    expires_at: float
    rateable_until: float
    votes: Sequence[CastVote]


class Receipt(NamedTuple):
    """What became of feedback that the blueprint took.

    `accepted` and `retracted`: it is kept, and will arrive; `unchanged`: the vote stood already.
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
        return COMPACT_JSON.encode(values).encode()

    @classmethod
    def unpack(cls, vote: bytes | None) -> Vote | None:
        """Return what was packed; `None` if there is no vote, or the rater took it back."""
        return cls(*json.loads(vote)) if vote and vote != RETRACTED else None


RETRACTION = Vote("retracted")
"""What is told of a vote that the rater took back."""


class Keys:
    """The keys of one blueprint. `blueprint` is its name, or empty for the default one.

    Each key begins with `prefix`. The blueprint's name follows, with a colon after it. If the name
    is empty and the message ID has a colon, the key has the colon all the same: otherwise the ID
    could name a message of another blueprint.
    """

    def __init__(self, prefix: str, blueprint: str) -> None:
        self._prefix = prefix
        self._namespace = f"{quote(blueprint, safe='')}:" if blueprint else ""
        self.beginning = prefix + self._namespace
        self.outboxes = f"{prefix}{OUTBOX}{self._namespace}"
        self.fingerprints = f"{prefix}{FINGERPRINTS}{self._namespace}"
        self.check = prefix + CHECK

    def of(self, message_id: str) -> str:
        """Return the key of a message."""
        namespace = self._namespace or (":" if ":" in message_id else "")
        return self._prefix + namespace + message_id

    def message_id(self, key: str) -> str:
        """Return the ID of the message that has this key."""
        message_id = key.removeprefix(self.beginning)
        return message_id if self._namespace else message_id.removeprefix(":")

    def is_ours(self, key: str) -> bool:
        """Whether a key that starts with `beginning` is the key of a message of this blueprint."""
        rest = key.removeprefix(self._prefix)
        return bool(self._namespace) or rest.startswith(":") or ":" not in rest


Severity = Literal["well", "worth changing", "wrong"]
"""How much a finding matters. If something is wrong, votes are lost or refused, now or later."""


class Finding(NamedTuple):
    """One thing that was checked: `what` it is, whether it is `ok`, and what was `seen`.

    `remedy` says what to do if it is not `ok`. It is `minor` if no vote is lost or refused.
    """

    what: str
    ok: bool
    seen: str
    remedy: str = ""
    minor: bool = False

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        if self.ok:
            return "well"
        return "worth changing" if self.minor else "wrong"
