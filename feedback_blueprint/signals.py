"""Signals, through blinker."""

from __future__ import annotations

from blinker import NamedSignal, Namespace

feedback_recorded: NamedSignal = Namespace().signal(
    "feedback-recorded",
    doc="""Sent after each vote that was accepted, retractions included.

    The sender is the Flask app; `message_id` and `trace_id` are strings, `attributes` is the whole
    event as it goes to New Relic. Like any Flask signal it runs inside the request: an
    exception in a receiver reaches the caller, though the vote stands.
    """,
)
