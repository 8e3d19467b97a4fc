"""The agent discards a harvest that is too large: no vote is taken that would be in it."""

from __future__ import annotations

import base64
import random
from datetime import date

import pytest
from reservoirs import LARGEST, SIZE, Held, transaction

from feedback_blueprint.errors import AgentNotRecording
from feedback_blueprint.reservoir import ENVELOPE, NOTHING, Reservoir


def noise(size):
    """Events that compress to so many bytes, four fifths of what they are."""
    return [(1.5, 0, base64.b85encode(random.Random(size).randbytes(size)).decode())]


def test_a_harvest_that_may_become_too_large_to_be_sent_takes_no_vote():
    Reservoir().check(transaction(Held(noise(400_000))), SIZE)
    Reservoir().check(transaction(Held([(1.5, 0, "compressed " * 100_000)])), SIZE)
    with pytest.raises(AgentNotRecording, match="1000000 bytes"):
        Reservoir().check(transaction(Held(noise(520_000))), SIZE)


def test_after_a_harvest_that_was_nearly_too_large_no_vote_is_taken_until_the_next():
    reservoir, large, empty = Reservoir(), Held(noise(400_000)), Held([])
    reservoir.check(transaction(large), SIZE)
    large.pq = noise(850_000)
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(empty), SIZE)
    del large
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(empty), SIZE)
    reservoir.check(transaction(Held([])), SIZE)


def test_large_votes_take_the_room_of_many_small_ones():
    reservoir, held, taken = Reservoir(), Held([]), []
    for number in range(49):
        taken.append(transaction(held))
        reservoir.check(taken[-1], 10_000)
        if number % 2:
            reservoir.keep(taken[-1])
    with pytest.raises(AgentNotRecording):
        reservoir.check(transaction(held), 10_000)
    reservoir.check(transaction(held), SIZE)


def test_half_of_what_can_be_sent_is_for_votes_to_the_byte(monkeypatch):
    """With what each event adds to its vote, and counted again or not."""
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now[0])
    reservoir, held = Reservoir(), Held([])
    one, late, hidden = transaction(held), transaction(held), transaction(None)
    reservoir.check(one, 200_000)
    left = LARGEST // 2 - len("[]") - 200_000 - 2 * ENVELOPE
    for happens in (lambda: None, lambda: reservoir.keep(one), lambda: now.append(now.pop() + 2)):
        happens()
        with pytest.raises(AgentNotRecording):
            reservoir.check(late, left + 1)
        reservoir.check(late, left)
    with pytest.raises(AgentNotRecording):
        Reservoir().check(hidden, LARGEST // 2 - ENVELOPE + 1)
    Reservoir().check(hidden, LARGEST // 2 - ENVELOPE)


def test_what_is_held_is_measured_once_a_second(monkeypatch):
    now, measured = [1000.0], []
    monkeypatch.setattr("feedback_blueprint.reservoir.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "feedback_blueprint.reservoir.load_of", lambda *held: measured.append(held) or NOTHING
    )
    reservoir, held = Reservoir(), Held([])
    for seconds, times in (0, 1), (0.5, 1), (0.5, 1), (0.5, 2), (1, 2):
        now[0] += seconds
        reservoir.check(transaction(held), SIZE)
        assert len(measured) == times


def test_an_event_that_is_no_json_is_measured_as_well():
    Reservoir().check(transaction(Held([(1.5, 0, {"made": date(2026, 1, 1)})])), SIZE)


def test_a_vote_is_admitted_by_its_size(app, events, post, message_id, monkeypatch):
    [votes] = app.extensions["feedback_blueprint"].values()
    sizes = []
    monkeypatch.setattr(votes.agent, "check", lambda size: sizes.append(size) or 255)
    for comment in "x" * 1000, "x" * 2000:
        assert post(message_id=message_id, rating=1, message=comment).status_code == 202
    assert sizes[1] - sizes[0] == 1000
