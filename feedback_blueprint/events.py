"""The event that New Relic gets for a vote."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from .attributes import MAX_ATTRIBUTES, MAX_VALUE_BYTES, split_text
from .errors import AgentNotRecording
from .model import RETRACTION, Message, Receipt, Vote

FEEDBACK_ID_BYTES = 22
"""Bytes of a `feedback_id`, which is 128 bits in base64."""

AGENTS_OWN = 2
"""Attributes that the agent adds: `id` and `ingest_source` (its `api/ml_model.py`)."""


def event_of(
    receipt: Receipt,
    vote: Vote | None,
    message: Message,
    cast_at: int,
    ratings: Mapping[str | int, float] | None,
    limit: int,
) -> dict[str, Any]:
    """Put the event together.

    If two entries have the same name, ours wins over the context's, and that over the metadata's.

    `cast_at`, in milliseconds since the epoch, is the event's time, however late the event goes.
    For agents before 11.2 it is one more attribute, beside the time of recording. `limit` is the
    most bytes of one value. If a new vote leaves out a category or comment, the event has it empty:
    the agent drops `None`, and NRQL's `latest()` would find the old one.
    """
    rating, category, comment, metadata = vote or RETRACTION
    left_out = {"category": "", "message": ""} if receipt.revision > 1 else {}
    pieces = split_text(comment or "", limit)
    ours: dict[str, Any] = {
        **left_out,
        "trace_id": message.trace_id,
        "rating": rating,
        "message_id": receipt.message_id,
        "feedback_id": receipt.feedback_id,
        "revision": receipt.revision,
        "retracted": vote is None,
        "timestamp": cast_at,
    }
    if category is not None:
        ours["category"] = category
    for number, piece in enumerate(pieces, start=1):
        ours["message" if number == 1 else f"message_{number}"] = piece
    if vote and ratings and rating in ratings:  # the app may have dropped it from its scale
        ours["score"] = ratings[rating]
    return {**(metadata or {}), **message.context, **ours}


def feedback_id(message_id: str, message: Message, voter: bytes) -> str:
    """Return the ID of all votes of one rater on one message: 128 bits that tell nothing of them.

    If a message takes the place of another, its votes have another ID, even in the same trace.
    """
    parts = (message_id.encode(), message.trace_id.encode(), voter)
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=16, key=message.nonce).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_nothing_is_cut(event: Mapping[str, Any], limit: int) -> None:
    """Raise `AgentNotRecording` if the agent would cut this event to `limit` bytes a value."""
    texts = (value for value in event.values() if isinstance(value, str))
    longest = max(FEEDBACK_ID_BYTES, *(len(text.encode()) for text in texts))
    if limit < longest or len(event) + AGENTS_OWN > MAX_ATTRIBUTES:
        raise AgentNotRecording(
            f"The agent would cut this vote to {limit} bytes a value: "
            f"set custom_insights_events.max_attribute_value to {MAX_VALUE_BYTES} or more."
        )
