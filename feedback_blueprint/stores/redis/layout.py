"""How messages and votes lie in Redis or Valkey, and what the scripts in `lua/` return of them.

A message that nobody rated is a string, the smallest thing that Redis keeps: how it begins, and
what else there is of it. The first vote, or its text, turns it into a hash under the same key:

    m               how the message begins, and until when it can be rated by anyone new
    x               what else there is of it, if there is
    c               its text, if that is kept: no vote needs it
    v<rater>        the rater's vote: when it was cast, its revision, a space, the vote
    p<rater>        its mark, until it is delivered: when it was cast
    f               of a message that took another's place: when the last vote on that was cast
    o<time><rater>  of one that did so, a vote on the other that is not yet delivered: bytes of that
                    message, the message, revision, a space, vote

A time is of 6 bytes, in milliseconds, and by Redis's clock. An outbox is a sorted set with a member
for each mark, by the time in milliseconds at which anybody may take the vote over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...model import Kept, KeptVote, Mark, Message

NEWER = b"newer"
"""What scripts return for a message that a later version of ours wrote."""

TIME = 6
"""Bytes of a time."""

SIZES = {b"\1": 17, b"\2": 33, b"\3": 25, b"\4": 41}
"""Bytes of how a message begins, by its layout."""


def encode(message: Message) -> bytes:
    """Pack a message without its text: how it begins, and what else there is."""
    return b"".join(parts_of(message)[:2])


def parts_of(message: Message) -> list[bytes]:
    """Return how a message begins, what else there is, and its text if there is one.

    It begins with a byte for the layout, the trace ID, the owner if it has one, of 16 bytes, and
    the nonce if it has one, of 8. A trace ID that is not 32 hex digits, as New Relic's own inbound
    header can make it, goes with the rest.
    """
    rest: dict[str, Any] = {}
    try:
        trace_id = bytes.fromhex(message.trace_id)
    except ValueError:
        trace_id = b""
    if trace_id.hex() != message.trace_id or len(trace_id) != 16:
        trace_id, rest["trace_id"] = bytes(16), message.trace_id
    if message.context:
        rest["context"] = dict(message.context)
    layout = 1 + bool(message.owner) + 2 * bool(message.nonce)
    head = bytes([layout]) + trace_id + message.owner + message.nonce
    texts = [] if message.content is None else [message.content.encode()]
    return [head, json.dumps(rest, separators=(",", ":")).encode() if rest else b"", *texts]


def decode(value: bytes, content: bytes | None = None) -> Message | None:
    """Unpack what `encode` packed, and its text if it is given; `None` for what it did not."""
    end = SIZES.get(value[:1])
    if end is None or len(value) < end:
        return None
    try:
        rest = json.loads(value[end:]) if len(value) > end else {}
    except ValueError:
        return None
    if not isinstance(rest, dict):
        return None
    context, trace_id = rest.get("context", {}), rest.get("trace_id", value[1:17].hex())
    if not isinstance(context, dict) or not isinstance(trace_id, str):
        return None
    nonce_at = end - 8 if value[0] > 2 else end
    text = None if content is None else content.decode()
    return Message(trace_id, value[17:nonce_at], context, text, value[nonce_at:end])


def pack_time(milliseconds: int) -> bytes:
    """Pack a time as the scripts do."""
    return milliseconds.to_bytes(TIME, "big")


def unpack_time(packed: bytes) -> int:
    """Return the time that `packed` begins with, in milliseconds."""
    return int.from_bytes(packed[:TIME], "big")


def unpack_vote(held: bytes) -> tuple[int, bytes]:
    """Return the revision and the vote of what is held, after its time."""
    revision, vote = held.split(b" ", 1)
    return int(revision), vote


def unpack_vote_result(reply: bytes) -> tuple[str, int, int, bytes, Message | None]:
    """Return what became of a vote: status, revision, when it was cast, under which hash, on what.

    A time of 0 is none. Raises `ValueError` for what `VOTE` did not return.
    """
    status, revision, cast_at, size, rest = reply.split(b" ", 4)
    voter, message = rest[: int(size)], rest[int(size) :]
    return status.decode(), int(revision), int(cast_at), voter, decode(message)


def unpack_older(kept: bytes) -> tuple[Message | None, int, bytes]:
    """Return a message that another took the place of, with the revision and the vote on it."""
    end = 4 + int.from_bytes(kept[:4], "big")
    return decode(kept[4:end]), *unpack_vote(kept[end:])


def unpack_kept(key: str, reply: tuple[int, int, Sequence[bytes]], now: float) -> list[Kept]:
    """Return what `KEPT` found, with the messages that were replaced after the one in their place.

    `now` is in seconds since the epoch.
    """
    is_whole, left, pairs = reply
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    until = now + left / 1000
    votes, replaced = [], []
    for name, value in fields.items():
        if name.startswith(b"v"):
            vote = *unpack_vote(value[TIME:]), unpack_time(value), b"p" + name[1:] in fields
            votes.append(KeptVote(name[1:], *vote))
        elif name.startswith(b"o"):
            older, revision, packed = unpack_older(value)
            of = KeptVote(name[1 + TIME :], revision, packed, unpack_time(name[1:]), True)
            replaced += [Kept(key, older, until, [of])] if older else []
    message = decode(fields[b"m"] + fields[b"x"], fields.get(b"c"))
    stored = [Kept(key, message, until, votes)] if message and (is_whole or votes) else []
    return stored + replaced


def is_newer(head: bytes) -> bool:
    """Whether a value begins as a message of a later version: by a layout that we do not know.

    Layouts are numbered up to 7: 8 and 10 begin protocol buffers, and what is above is text or else
    begins another app's values.
    """
    return len(head) >= 17 and max(SIZES)[0] < head[0] < 8


def member_of(mark: Mark) -> bytes:
    """Return the member of an outbox that stands for a mark, as the vote's script makes it."""
    return b"%d %d %b%b" % (mark.cast_at, len(mark.voter), mark.voter, mark.key.encode())


def mark_of(outbox: str, member: bytes) -> Mark:
    """Return the mark that a member of an outbox stands for."""
    cast, size, rest = member.split(b" ", 2)
    return Mark(outbox, rest[int(size) :].decode(), rest[: int(size)], int(cast))
