"""How messages and votes lie in Redis or Valkey, and the scripts that change and read them.

Each script in `lua/` is one atomic step.

A message that nobody rated is a string, the smallest thing that Redis keeps: its head, and the rest
of it. The first vote, or the message's text, turns it into a hash under the same key:

    m               the head, and the time until which anyone new can rate the message
    x               the rest of the message, if there is any
    c               its text, if the app keeps that: no vote needs it
    v<rater>        the rater's vote: when it was cast, its revision, a space, the vote
    p<rater>        its mark, until it is delivered: when it was cast
    f               if the message replaced another: when the last vote on that was cast
    o<time><rater>  if so, a vote on the other that is not yet delivered, and when it was cast: the
                    size of that message in 4 bytes, the message, the revision, a space, the vote

A time has 6 bytes, in milliseconds, by Redis's clock. An outbox is a sorted set with a member for
each mark. Its score is the time in milliseconds at which anybody may take the vote over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...model import CastVote, Mark, Message, StoredMessage

LUA = Path(__file__).with_name("lua")


def _with_parts(file: Path) -> str:
    """Return a script, with the files of `lua/parts/` that it includes."""
    return re.sub(
        "^-- include (.+)$",
        lambda found: _with_parts(LUA / "parts" / f"{found[1]}.lua"),
        file.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )


SCRIPTS = {file.stem: _with_parts(file) for file in LUA.glob("*.lua")}

HASHES = {
    name: hashlib.sha1(script.encode()).hexdigest()  # noqa: S324  # EVALSHA names a script so
    for name, script in SCRIPTS.items()
}

NEWER = b"newer"
"""What a script returns for a message that a newer version of this package wrote."""

TIME = 6
"""Bytes of a time."""

HEAD_SIZES = {b"\1": 17, b"\2": 33, b"\3": 25, b"\4": 41}
"""Bytes of a message's head, by its layout, which is the first of them."""


def pack_message(message: Message) -> list[bytes]:
    """Return the head of a message, the rest of it, and its text if there is one.

    The head is a byte for the layout, 16 of the trace ID, 16 of the owner if there is one, and 8 of
    the nonce if there is one. New Relic's own inbound header can make a trace ID that is not 32 hex
    digits: that one goes into the rest.
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


def unpack_message(value: bytes, content: bytes | None = None) -> Message | None:
    """Return the message of these `pack_message`, joined, and its text; `None` for other bytes."""
    end = HEAD_SIZES.get(value[:1])
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


def unpack_vote(packed: bytes) -> tuple[int, bytes]:
    """Return the revision and the vote that follow the time in a field."""
    revision, vote = packed.split(b" ", 1)
    return int(revision), vote


def unpack_vote_result(reply: bytes) -> tuple[str, int, int, bytes, Message | None]:
    """Return what `vote.lua` said: status, revision, when it was cast, the voter, the message.

    The time is 0 if there is none. Raises `ValueError` for other bytes.
    """
    status, revision, cast_at, size, rest = reply.split(b" ", 4)
    voter, message = rest[: int(size)], rest[int(size) :]
    return status.decode(), int(revision), int(cast_at), voter, unpack_message(message)


def unpack_older(packed: bytes) -> tuple[Message | None, int, bytes]:
    """Return a message that another replaced, with the revision and the vote on it."""
    end = 4 + int.from_bytes(packed[:4], "big")
    return unpack_message(packed[4:end]), *unpack_vote(packed[end:])


def unpack_export(
    key: str, reply: tuple[int, int, int, Sequence[bytes]], now: float
) -> list[StoredMessage]:
    """Return what `export.lua` found: the message, then those that were replaced.

    `now` is in seconds since the epoch.
    """
    is_whole, expires_in, rateable_for, pairs = reply
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    expires_at = now + expires_in / 1000
    votes, replaced = [], []
    for name, value in fields.items():
        if name.startswith(b"v"):
            vote = *unpack_vote(value[TIME:]), unpack_time(value), b"p" + name[1:] in fields
            votes.append(CastVote(name[1:], *vote))
        elif name.startswith(b"o"):
            older, revision, packed = unpack_older(value)
            cast = CastVote(name[1 + TIME :], revision, packed, unpack_time(name[1:]), True)
            replaced += [StoredMessage(key, older, expires_at, 0, [cast])] if older else []
    message = unpack_message(fields[b"m"] + fields[b"x"], fields.get(b"c"))
    if message is None or not (is_whole or votes):
        return replaced
    return [StoredMessage(key, message, expires_at, now + rateable_for / 1000, votes), *replaced]


def is_newer(head: bytes) -> bool:
    """Whether a value begins as a message of a newer version: with a layout that we do not know.

    Layouts have numbers up to 7. 8 and 10 begin protocol buffers, and greater ones begin text or
    other values of another app.
    """
    return len(head) >= 17 and max(HEAD_SIZES)[0] < head[0] < 8


def pattern_of(prefix: str) -> str:
    """Return the pattern for `SCAN` of all keys that begin with `prefix`."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"


def member_of(mark: Mark) -> bytes:
    """Return the member of an outbox that stands for a mark, as `vote.lua` makes it."""
    return b"%d %d %b%b" % (mark.cast_at, len(mark.voter), mark.voter, mark.key.encode())


def mark_of(outbox: str, member: bytes) -> Mark:
    """Return the mark that a member of an outbox stands for."""
    cast, size, rest = member.split(b" ", 2)
    return Mark(outbox, rest[int(size) :].decode(), rest[: int(size)], int(cast))
