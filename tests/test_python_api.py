"""Votes from Python, and the signal that tells Python of them."""

from __future__ import annotations

import enum
from uuid import UUID

import pytest

from feedback_blueprint import errors
from feedback_blueprint.signals import feedback_recorded


def test_submit_and_retract_do_what_the_routes_do(app, feedback, events):
    with app.test_request_context():
        message_id = feedback.stash()
        receipt = feedback.submit(message_id, "good", "c", "m", {"a": 1})
        assert (receipt.status, receipt.revision) == ("accepted", 1)
        assert feedback.submit(message_id, "good", "c", "m", {"a": 1}).status == "unchanged"
        assert feedback.retract(message_id).status == "retracted"
        with pytest.raises(errors.UnknownMessage):
            feedback.retract(message_id)
        with pytest.raises(errors.Invalid) as invalid:
            feedback.submit(message_id, True)
    assert list(invalid.value.errors) == ["rating"]
    assert [event["revision"] for event in events] == [1, 2]


def test_a_message_with_a_uuid_can_be_retracted(app, feedback, events):
    with app.test_request_context():
        feedback.submit(feedback.stash(UUID(int=7)), "good")
        assert feedback.retract(UUID(int=7)).status == "retracted"


def test_what_can_be_no_id_is_an_unknown_message_to_retract(app, feedback, events):
    with app.test_request_context():
        feedback.submit(feedback.stash("None"), "good")
        for message_id in None, 10**5000, "half \ud800":
            with pytest.raises(errors.UnknownMessage):
                feedback.retract(message_id)


def test_members_of_an_enum_are_kept_and_sent_as_what_they_are(app, feedback, events):
    class Text(str, enum.Enum):
        ID, GOOD, WRONG, RATING = "id-1", "good", "wrong", "rating"

    class Number(int, enum.Enum):
        ID = 7

    with app.test_request_context():
        assert feedback.stash(Number.ID) == "7"
        assert feedback.stash(Text.ID, context={Text.RATING: "evil"}) == "id-1"
        feedback.submit(Text.ID, Text.GOOD, Text.WRONG, Text.WRONG)
        feedback.submit(Text.ID, Number.ID)
        assert feedback.retract(Text.ID).revision == 3
        with pytest.raises(errors.Invalid):
            feedback.submit(Text.ID, Text.GOOD, metadata={Text.RATING: "evil"})
    sent = [(event["message_id"], event["rating"], event["category"]) for event in events]
    assert repr(sent) == "[('id-1', 'good', 'wrong'), ('id-1', 7, ''), ('id-1', 'retracted', '')]"
    assert str(events[0]["message"]) == "wrong"


def test_the_signal_tells_of_each_event(app, post, client, events, message_id):
    seen = []

    def receive(sender, **told):
        seen.append((sender, told))

    with feedback_recorded.connected_to(receive):
        post()
        post()
        client.delete(f"/feedback?message_id={message_id}")
    assert [sender for sender, _ in seen] == [app, app]
    assert [told["attributes"] for _, told in seen] == events
    assert {told["message_id"] for _, told in seen} == {message_id}
    assert {told["trace_id"] for _, told in seen} == {events[0]["trace_id"]}
