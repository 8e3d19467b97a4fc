"""A vote that stands and was not confirmed: its event may be lost, so it is recorded once more."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from feedback_blueprint.events import Vote
from feedback_blueprint.stores import ANYONE, Ballot


@pytest.fixture
def unconfirmed(app, message_id):
    """A vote whose process died before it could record the event; it is waited for."""
    [votes] = app.extensions["feedback_blueprint"].values()
    votes._patience = 1
    ballot = Ballot(Vote("good").pack(), os.urandom(8), 20)
    assert votes._guard.vote(f"fb:{message_id}", [ANYONE], ballot).status == "accepted"
    return {"message_id": message_id, "rating": "good"}


def test_it_is_not_read_back(client, unconfirmed):
    answer = client.get(f"/feedback?message_id={unconfirmed['message_id']}")
    assert answer.json == {"feedback": [], "rateable": [unconfirmed["message_id"]]}


def test_it_is_recorded_once_more_however_often_it_is_sent(app, events, unconfirmed):
    def send(_: int) -> int:
        return app.test_client().post("/feedback", json=unconfirmed).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [200] * 7 + [202]
    [event] = events
    assert event["revision"] == 1


def test_another_vote_takes_its_place_at_once(client, events, unconfirmed):
    answer = client.post("/feedback", json=unconfirmed | {"rating": "bad"})
    assert (answer.status_code, answer.json["revision"]) == (202, 2)
    assert len(events) == 1
