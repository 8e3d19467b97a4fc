"""Signals, through blinker."""

from __future__ import annotations

from blinker import NamedSignal, Namespace

feedback_recorded: NamedSignal = Namespace().signal(
    "feedback-recorded",
    doc="""Sent after each vote and each retraction that was accepted.

    The sender is the Flask app. `message_id` and `trace_id` are strings. `attributes` is the whole
    event as it goes to New Relic, a mapping. Like any Flask signal it runs inside the request: an
    exception in a receiver reaches the caller, but the vote is accepted all the same.
    """,
)
