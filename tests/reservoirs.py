"""A reservoir as the agent has it, and transactions that hand their events to it."""

from __future__ import annotations

from types import SimpleNamespace

PERIOD, CAPACITY = 3, 200

#: Bytes: of a vote, and of what the agent sends at once by default.
SIZE, LARGEST = 20, 1_000_000


class Transaction(SimpleNamespace):
    """A transaction as the agent makes it, as far as a reservoir looks at it."""

    __hash__ = object.__hash__


class Held:
    """A reservoir of the agent's."""

    def __init__(self, pq):
        self.pq = pq


def transaction(reservoir, capacity=CAPACITY, period=PERIOD):
    limits = SimpleNamespace(custom_event_data=capacity)
    config = SimpleNamespace(harvest_limits=limits, report_period_ms=period * 1000)
    engine = SimpleNamespace(custom_events=reservoir)
    core = SimpleNamespace(application=lambda _: SimpleNamespace(_stats_engine=engine))
    return Transaction(
        settings=SimpleNamespace(event_harvest_config=config, max_payload_size_in_bytes=LARGEST),
        application=SimpleNamespace(_agent=core, name="app"),
        _custom_events=SimpleNamespace(
            heap=False,
            pq=[(0.7, 0, "call"), (0.6, 1, "call"), (0.5, 2, "vote")],
            num_seen=3,
            capacity=capacity,
        ),
    )
