"""Signals, through blinker."""

from __future__ import annotations

from blinker import NamedSignal, Namespace

feedback_recorded: NamedSignal = Namespace().signal(
    "feedback-recorded",
    doc="""Sent after each event that the agent took, retractions included.

    The sender is the Flask app; `message_id` and `trace_id` are strings, `attributes` is the whole
    event as it was handed to the agent. Like any Flask signal it runs inside the request: an
    exception in a receiver reaches the caller, though the vote stands.
    """,
)
