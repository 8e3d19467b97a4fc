"""What is asked of votes that were answered 202: that each arrives, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from chatting import made, rate
from collector import Collector
from http_client import Client
from processes import wait_until

Taken = dict[tuple[str, int], str]
"""The votes that were answered 202: by `feedback_id` and revision, the message."""


def of_priority(priority: str) -> dict[str, str]:
    """Headers by which a client whose trusted key is known chooses the priority of its events."""
    return {
        "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        "tracestate": f"12345@nr=0-0-12345-1-0123456789abcdef-0123456789abcdef-1-{priority}-1",
    }


def vote(server: Client, message_ids: Iterable[str]) -> Taken:
    """Rate each message; each vote is accepted."""
    taken = {}
    for message_id in message_ids:
        answer = rate(server, message_id)
        assert answer.status == 202, answer.text
        taken[answer.json["feedback_id"], answer.json["revision"]] = message_id
    return taken


def chat_and_vote(server: Client, votes: int = 10) -> Taken:
    """Have messages made, and rate each."""
    return vote(server, [made(server) for _ in range(votes)])


def arrived(collector: Collector, taken: Taken) -> Counter[tuple[str, int]]:
    """Count the events of each of these votes."""
    found = Counter((each["feedback_id"], each["revision"]) for each in collector.events())
    return Counter({vote: found[vote] for vote in taken if vote in found})


def assert_all_arrive(collector: Collector, taken: Taken, timeout: float = 120) -> int:
    """Wait for the events of all these votes, and return how many copies there are of them."""
    try:
        wait_until(lambda: len(arrived(collector, taken)) == len(taken), "votes", timeout)
    except AssertionError:
        found = arrived(collector, taken)
        pytest.fail(f"{len(taken) - len(found)} of {len(taken)} votes that were accepted are lost")
    found = arrived(collector, taken)
    return found.total() - len(found)
