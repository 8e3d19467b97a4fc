"""What is kept of a person: an operator exports or removes it when the person asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from .events import feedback_id
from .model import RETRACTION, StoredMessage, Vote
from .votes import Votes

Progress = Callable[[int], None]
"""Gets the number of messages that were looked at since its last call."""


def export(votes: Votes, rater: str, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield all that is kept of a rater, one JSON object for each message.

    The object has the message's text if the message was made for the rater. Raises
    `StoreUnavailable`, and `ConfigurationError` if the app has no rater.
    """
    for kept in _kept(votes, votes.raters.of(rater), progress):
        yield {
            "message_id": votes.keys.message_id(kept.key),
            "trace_id": kept.message.trace_id,
            "context": dict(kept.message.context),
            "content": kept.message.content,
            "kept_until": iso_time(kept.expires_at),
            "votes": [
                {
                    "feedback_id": identity,
                    "revision": vote.revision,
                    **_as_sent(vote.vote),
                    "cast_at": iso_time(vote.cast_at / 1000),
                    "delivered": not vote.is_undelivered,
                }
                for identity, vote in zip(_feedback_ids(votes, kept), kept.votes, strict=True)
            ],
        }


def forget(
    votes: Votes, rater: str | None, message_id: str | None, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Remove what is kept of a rater, of one message, or of one rater on one message.

    Yields the IDs by which New Relic knows what was removed. Raises what `export` raises.
    """
    raters = None if rater is None else votes.raters.of(rater)
    keys = iter([votes.keys.of(message_id)] if message_id is not None else [])
    if raters and message_id is None:
        keys = (kept.key for kept in _kept(votes, raters, progress))
    for removed in votes.store.forget(keys, raters, votes.keys.outboxes):
        for kept in removed:
            yield {
                "message_id": votes.keys.message_id(kept.key),
                "trace_id": kept.message.trace_id,
                "feedback_ids": _feedback_ids(votes, kept),
            }


def _kept(votes: Votes, raters: Sequence[bytes], progress: Progress) -> Iterator[StoredMessage]:
    for looked_at, found in votes.store.export(votes.keys.beginning, votes.keys.is_ours, raters):
        progress(looked_at)
        yield from found


def _feedback_ids(votes: Votes, kept: StoredMessage) -> list[str]:
    message_id = votes.keys.message_id(kept.key)
    return [feedback_id(message_id, kept.message, vote.voter) for vote in kept.votes]


def _as_sent(packed: bytes) -> dict[str, Any]:
    """Return the fields of a vote as they were sent. One that was retracted says so."""
    vote = Vote.unpack(packed)
    return {"retracted": vote is None, **(vote or RETRACTION)._asdict()}


def iso_time(seconds: float) -> str:
    """Return a time in seconds since the epoch as ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
