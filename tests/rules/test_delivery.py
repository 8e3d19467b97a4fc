"""What a process does with each harvest of its agent."""

from __future__ import annotations

import gc
import json
import random
import string
import time
import weakref
import zlib
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from outage import failing
from processes import wait_until
from runbook import is_quoted
from stand_in import APPLICATION
from store_kinds import ON_ALL_STORES

from feedback_blueprint.agent.harvests import Harvest
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.personal_data import forget
from feedback_blueprint.testing import capture_feedback


@ON_ALL_STORES
def test_a_vote_is_undelivered_until_its_event_has_arrived(start):
    process = start()
    message_id = process.stash()
    assert process.rate(message_id).status_code == 202
    [event] = process.recorded
    assert process.undelivered == 1
    assert process.rate(message_id).status_code == 200, "it stands, and nobody waits for New Relic"
    process.agent.harvest(event)
    assert process.undelivered == 0
    assert process.rate(message_id).status_code == 200
    process.agent.harvest()
    process.agent.harvest()
    assert process.recorded == [event]
    assert process.counts == {"VotesAccepted": 1, "VotesDelivered": 1}
    assert {name for name, _ in process.agent.transactions} == {"vote"}


def test_a_mark_goes_before_the_harvest_is_over(start):
    """After its events the agent sends its errors: that may take until the process is killed."""
    process = start()
    process.rate(process.stash())
    process.agent.listener.arrived(APPLICATION, process.recorded)
    assert process.undelivered == 0


@ON_ALL_STORES
def test_an_event_that_two_harvests_did_not_bring_is_recorded_again_the_same(start):
    process = start()
    process.rate(process.stash(context={"model": "m"}), message="x" * 300, metadata={"page": 1})
    [event] = process.recorded
    assert event["timestamp"] > 1_700_000_000_000
    process.agent.harvest()
    assert process.recorded == [event]
    process.agent.harvest()
    assert process.recorded == [event] * 2
    assert process.agent.transactions[-1] == ("deliver", APPLICATION)
    process.agent.harvest(has_events=False)
    assert process.recorded == [event] * 2, "it is held again"
    process.agent.harvest(event)
    assert process.undelivered == 0
    assert process.counts["VotesDeliveredAgain"] == 1


def rate_an_answer_and_another_in_its_place(process):
    for number in range(2):
        process.stash(message_id="m", context={"number": number}, replace=True)
        assert process.rate("m").status_code == 202
    events = process.recorded[:]
    assert [(each["number"], each["revision"]) for each in events] == [(0, 1), (1, 1)]
    assert events[0]["feedback_id"] != events[1]["feedback_id"]
    return events


def test_a_vote_on_an_answer_that_was_made_again_arrives_once(start):
    process = start()
    events = rate_an_answer_and_another_in_its_place(process)
    assert process.undelivered == 2
    process.agent.harvest(*events)
    process.agent.harvest()
    process.agent.harvest()
    assert process.recorded == events
    assert process.undelivered == 0


@ON_ALL_STORES
def test_a_vote_on_an_answer_that_was_made_again_is_recorded_again_as_a_vote_on_that(start):
    dead, process = start(), start()
    dead.agent.change_limits(next_harvest=0)
    events = rate_an_answer_and_another_in_its_place(dead)
    wait_until(lambda: process.agent.harvest() or len(process.recorded) == 2, "both votes")
    assert sorted(process.recorded, key=lambda each: each["number"]) == events
    process.agent.harvest(*events)
    assert process.undelivered == 0


def test_an_event_that_is_not_the_deliverys_takes_no_mark_off(start):
    """As the app's own code can, or the blueprint's other name in the same process."""
    process = start()
    process.rate(process.stash())
    process.agent.harvest({"feedback_id": "another", "revision": 1}, {})
    assert process.undelivered == 1
    assert "VotesDelivered" not in process.counts


def test_an_app_that_is_gone_hears_that_its_vote_arrived(start, monkeypatch):
    process, other = start(), start()
    process.rate(process.stash())
    agent, delivery = process.agent, weakref.ref(process.votes.delivery)
    agent.listener = None
    monkeypatch.undo()  # what it keeps for that keeps the process
    del process
    gc.collect()
    delivery().arrived(APPLICATION, agent.recorded)
    delivery().harvested(Harvest(APPLICATION))
    assert other.undelivered == 0
    gc.collect()
    assert delivery() is None


def test_a_vote_whose_number_was_given_before_is_not_delivered_with_the_older_one(start):
    """As it is after the store went back in time: both are revision 1."""
    process = start()
    events = process.recorded
    for rating in "bad", "good":
        assert process.stash(message_id="m") == "m"
        assert process.rate("m", rating).status_code == 202
        process.votes.store.remove("fb:m")
        wait_until(lambda: time.time() * 1000 > events[-1]["timestamp"] + 1, "a later time")
    assert events[0]["feedback_id"] == events[1]["feedback_id"]
    assert events[0]["revision"] == events[1]["revision"]
    process.agent.harvest(events[0])
    assert process.counts["VotesDelivered"] == 1
    process.agent.harvest(events[1])
    assert process.counts["VotesDelivered"] == 2


def test_what_the_agent_keeps_for_its_next_harvest_is_not_recorded_again(start):
    process = start()
    process.rate(process.stash())
    for _ in range(5):
        process.agent.harvest(has_events=False)
    assert len(process.recorded) == 1


def test_each_vote_is_counted_when_it_is_accepted_and_when_it_arrives(start):
    process = start()
    for _ in range(3):
        process.rate(process.stash())
    process.agent.harvest(process.recorded[0])
    process.agent.harvest()
    process.agent.harvest(*process.recorded[3:])
    assert len(process.recorded) == 5
    counted = {"VotesAccepted": 3, "VotesDelivered": 3, "VotesDeliveredAgain": 2}
    assert process.counts.items() >= counted.items()


def test_the_age_of_the_oldest_vote_is_measured(start, monkeypatch):
    process = start()
    message_id = process.stash()
    process.rate(message_id, "bad")
    process.rate(message_id, "good")
    newest = process.recorded[1]["timestamp"]

    def measured(age):
        clock = SimpleNamespace(time=lambda: newest / 1000 + age)
        monkeypatch.setattr("feedback_blueprint.delivery.time", clock)
        process.agent.harvest(has_events=False)
        return process.counts["OldestUndelivered"]

    assert measured(100) == pytest.approx(100, abs=1)
    assert measured(-100) == 0, "the store's clock is ahead"


def test_an_event_whose_transaction_runs_on_is_waited_for(start):
    process = start()
    process.agent.is_in_transaction = True
    process.rate(process.stash())
    for _ in range(5):
        process.agent.harvest()
    assert len(process.recorded) == 1


def test_an_event_of_after_the_beginning_of_a_harvest_does_not_miss_it(start):
    process = start()
    began = time.monotonic()
    process.rate(process.stash())
    process.agent.harvest(began=began)
    process.agent.harvest()
    assert len(process.recorded) == 1


@ON_ALL_STORES
def test_a_vote_of_a_process_that_died_is_taken_over_once_its_lease_has_ended(start):
    dead, living = start(), start()
    dead.agent.change_limits(next_harvest=1.5)
    dead.rate(dead.stash())
    living.agent.harvest()
    assert living.recorded == []
    wait_until(lambda: living.agent.harvest() or living.recorded, "the end of the lease")
    assert living.recorded == dead.recorded
    living.agent.harvest(*living.recorded)
    assert living.undelivered == 0


def test_a_process_that_lives_keeps_its_votes(start):
    voter, other = start(), start()
    voter.agent.change_limits(next_harvest=1.5)
    voter.rate(voter.stash())
    end = time.monotonic() + 3.5

    def harvests():
        voter.agent.harvest(has_events=False)
        other.agent.harvest()
        return time.monotonic() > end

    wait_until(harvests, "more than two leases")
    assert other.recorded == []
    assert len(voter.recorded) == 1


@pytest.mark.parametrize("state", [{"is_active": False}, {"is_last": True}])
def test_an_agent_that_records_no_more_takes_nothing_over_and_marks_still_go(start, state):
    dead, process = start(), start()
    dead.agent.change_limits(next_harvest=0)
    dead.rate(dead.stash())
    process.rate(process.stash())
    process.agent.harvest(*process.recorded, **state)
    assert len(process.recorded) == 1
    assert process.undelivered == 1


def test_an_agent_that_cannot_send_takes_nothing_over(start, caplog):
    dead, process = start(), start()
    dead.agent.change_limits(next_harvest=0)
    dead.rate(dead.stash())
    process.agent.refusal = "Custom events are off."
    process.agent.harvest()
    assert process.recorded == []
    assert caplog.messages == [], "it has nothing to deliver of its own"
    process.agent.refusal = None
    process.rate(process.stash())
    process.agent.refusal = "Custom events are off."
    process.agent.harvest(has_events=False)
    assert len(process.recorded) == 1
    assert "Votes that were not delivered wait. Custom events are off." in caplog.messages
    assert all(map(is_quoted, caplog.messages))


def test_a_rule_that_ignores_what_is_delivered_is_named_and_nothing_is_lost(start, caplog):
    process = start()
    process.rate(process.stash())
    process.agent.harvest()
    process.agent.ignored = "A rule ignores it."
    process.agent.harvest()
    assert len(process.recorded) == 1
    assert "Votes that were not delivered wait. A rule ignores it." in caplog.messages
    process.agent.ignored = None
    process.agent.harvest()
    assert len(process.recorded) == 2


def test_a_store_that_is_down_is_logged_beside_an_agent_that_cannot_send(start, caplog):
    process = start()
    process.rate(process.stash())
    process.agent.refusal = "Custom events are off."
    process.agent.harvest(has_events=False)
    process.agent.refusal = None

    with failing(process.votes.store, "take"):
        process.agent.harvest()
    assert [
        text.removeprefix("Votes that were not delivered wait. ") for text in caplog.messages
    ] == [
        "Custom events are off.",
        "Gone. Start it.",
    ]


def test_a_process_whose_harvest_is_full_leaves_votes_to_others(start):
    """All the more if New Relic has come to want fewer events than the agent holds."""
    full, other = start(), start()
    for _ in range(4):
        full.rate(full.stash())
    full.agent.change_limits(harvest_events=1, next_harvest=0)
    full.rate(full.stash())
    full.agent.change_limits(next_harvest=60)
    full.agent.harvest(has_events=False)
    assert len(full.recorded) == 4
    other.agent.harvest()
    assert len(other.recorded) == 1


def test_a_peak_is_accepted_and_spread_over_harvests(start):
    process = start(events=8)
    for _ in range(20):
        assert process.rate(process.stash()).status_code == 202
    assert len(process.recorded) == 6, "three quarters of a harvest, the rest is the app's own"
    arrived = []
    for _ in range(40):
        if len(arrived) == 20:
            break
        assert len(process.recorded) - len(arrived) <= 6
        now, arrived = process.recorded[len(arrived) :], list(process.recorded)
        process.agent.harvest(*now)
    assert len({event["message_id"] for event in arrived}) == len(arrived) == 20
    assert process.undelivered == 0


def test_large_votes_are_spread_over_harvests_too(start):
    process = start(size=20_000)
    for _ in range(10):
        assert process.rate(process.stash(), message="x" * 4000).status_code == 202
    assert len(process.recorded) == 3
    process.agent.harvest(*process.recorded)
    assert 4 <= len(process.recorded) <= 6
    process.agent.harvest(*process.recorded[3:])
    wait_until(
        lambda: process.agent.harvest(*process.recorded) or not process.undelivered, "the rest"
    )


def test_votes_that_hardly_compress_still_fit_into_a_harvest(start):
    size = 100_000
    process, chance = start(size=size), random.Random(1)

    def noise(length, characters):
        return "".join(chance.choices(characters, k=length))

    emoji = [chr(code) for code in range(0x10000, 0x20000)]
    for _ in range(30):
        metadata = {noise(255, string.ascii_letters): noise(63, emoji) for _ in range(16)}
        answer = process.rate(process.stash(), message=noise(1000, emoji), metadata=metadata)
        assert answer.status_code == 202
    assert size / 4 < len(zlib.compress(json.dumps(process.recorded).encode())) < size


def test_a_harvest_of_one_event_is_enough(start):
    process = start(events=1)
    for _ in range(3):
        assert process.rate(process.stash()).status_code == 202
    assert len(process.recorded) == 1
    wait_until(
        lambda: process.agent.harvest(*process.recorded[-1:]) or not process.undelivered, "all"
    )
    assert len({event["message_id"] for event in process.recorded}) == 3


def test_only_the_vote_that_stands_is_recorded_again(start):
    process = start()
    message_id = process.stash()
    process.rate(message_id, "bad")
    process.rate(message_id, "good")
    for _ in range(2):
        process.agent.harvest()
    assert [event["revision"] for event in process.recorded] == [1, 2, 2]
    process.agent.harvest(process.recorded[-1])
    assert process.undelivered == 0


def test_the_older_vote_that_arrives_leaves_the_newer_ones_mark(start):
    process = start()
    message_id = process.stash()
    process.rate(message_id, "bad")
    process.rate(message_id, "good")
    process.agent.harvest(process.recorded[0])
    assert process.undelivered == 1


def test_a_retraction_is_recorded_again_as_one(start):
    process = start()
    message_id = process.stash()
    process.rate(message_id)
    assert process.client.delete(f"/feedback?message_id={message_id}").status_code == 202
    for _ in range(2):
        process.agent.harvest()
    assert process.recorded[-1] == process.recorded[1]
    assert process.recorded[-1]["retracted"] is True


def test_a_vote_on_a_message_that_expired_is_named_and_counted(start, caplog):
    process = start()
    short = timedelta(seconds=0.5)
    process.votes.settings = process.votes.settings._replace(ttl=short, vote_ttl=short)
    process.agent.change_limits(next_harvest=0)
    process.agent.failure = OSError("the agent's")
    message_ids = [process.stash() for _ in range(2)]
    for message_id in message_ids:
        assert process.rate(message_id).status_code == 202
    process.agent.failure = None
    show = process.votes.store.show
    wait_until(lambda: not any(show(f"fb:{each}") for each in message_ids), "expired", timeout=20)
    process.agent.harvest()
    assert process.counts["VotesExpired"] == 2
    [said] = [text for text in caplog.messages if "2 votes were never delivered" in text]
    assert is_quoted(said)
    assert not any("cannot be recorded" in text for text in caplog.messages)
    assert process.undelivered == 0


def test_an_agent_that_fails_loses_no_vote(start, caplog):
    process = start()
    process.agent.failure = OSError("the agent's")
    assert process.rate(process.stash()).status_code == 202
    assert "The agent failed: a vote will be recorded again." in caplog.messages
    process.agent.failure = None
    for _ in range(2):
        process.agent.harvest()
    assert len(process.recorded) == 1


def test_a_rating_that_is_off_the_scale_by_now_is_recorded_without_a_score(start):
    process = start()
    process.rate(process.stash())
    process.votes.settings = process.votes.settings._replace(ratings={"great": 1.0})
    for _ in range(2):
        process.agent.harvest()
    first, again = process.recorded
    assert first == again | {"score": 1}
    assert "score" not in again


def test_a_vote_of_a_rater_whose_key_was_changed_keeps_its_identity(start, monkeypatch):
    process = start()
    monkeypatch.setattr(process.votes.raters, "of_caller", lambda: [b"a" * 16])
    process.rate(process.stash())
    monkeypatch.setattr(process.votes.raters, "of_caller", lambda: [b"b" * 16])
    for _ in range(2):
        process.agent.harvest()
    assert process.recorded[1] == process.recorded[0]


@pytest.mark.parametrize("limit", [-1, 0, 3, 21, 31, 100])
def test_a_vote_that_an_agent_with_a_lower_limit_would_cut_waits_for_another(start, caplog, limit):
    voter, lower, other = start(), start(), start()
    voter.agent.change_limits(next_harvest=0)
    voter.rate(voter.stash(), message="👍", category="x" * 101)
    voter.agent.change_limits(next_harvest=60)
    lower.agent.change_limits(value_bytes=limit, next_harvest=0)
    lower.agent.harvest()
    assert lower.recorded == []
    assert "max_attribute_value to 255 or more" in caplog.text
    wait_until(lambda: other.agent.harvest() or other.recorded, "the end of the lease")
    assert other.recorded == voter.recorded


def test_a_vote_that_cannot_be_recorded_stops_no_other(start, monkeypatch, caplog):
    process = start()
    process.agent.change_limits(next_harvest=0)
    for message_id in "bad", "good":
        with process.app.test_request_context():
            process.feedback.stash(message_id)
        process.agent.failure = OSError()
        process.rate(message_id)
    process.agent.failure = None
    event_again = process.votes._event_again

    def event_of(undelivered, message, limit):
        if undelivered.mark.key.endswith("bad"):
            raise KeyError
        return event_again(undelivered, message, limit)

    monkeypatch.setattr(process.votes.delivery, "_event_of", event_of)
    for _ in range(2):
        process.agent.harvest()
    assert {event["message_id"] for event in process.recorded} == {"good"}
    assert "A vote cannot be recorded: it waits." in caplog.messages


def test_a_mark_that_should_go_while_the_store_is_down_goes_later(start, caplog):
    process = start()
    process.rate(process.stash())

    with failing(process.votes.store, "unmark", "take"):
        process.agent.harvest(*process.recorded)
        process.rate(process.stash())
        process.agent.harvest(process.recorded[1])
    assert "Votes were delivered, and may be once more. Gone. Start it." in caplog.messages
    assert all(map(is_quoted, caplog.messages))
    assert process.undelivered == 2
    process.agent.harvest()
    assert process.undelivered == 0
    assert len(process.recorded) == 2


@ON_ALL_STORES
def test_marks_of_delivered_and_of_expired_votes_go_once_the_store_is_back(start):
    process = start()
    process.rate(process.stash())
    short = timedelta(seconds=0.5)
    process.votes.settings = process.votes.settings._replace(ttl=short, vote_ttl=short)
    process.agent.change_limits(next_harvest=0)
    process.agent.failure = OSError("the agent's")
    message_id = process.stash()
    process.rate(message_id)
    wait_until(lambda: not process.votes.store.show(f"fb:{message_id}"), "expired")

    with failing(process.votes.store, "unmark"):
        process.agent.harvest(*process.recorded)
    assert process.counts["VotesExpired"] == 1
    assert process.undelivered == 2
    process.agent.harvest(is_last=True)
    assert process.undelivered == 0


@ON_ALL_STORES
def test_a_node_of_the_store_that_is_down_keeps_back_only_its_own_marks(start, monkeypatch):
    process = start()
    for _ in range(3):
        process.rate(process.stash())
    store = process.votes.store
    out = process.recorded[0]["message_id"]

    def unmark(marks):
        if any(mark.key.endswith(out) for mark in marks):
            raise StoreUnavailable("Gone", "Start it.")
        type(store).unmark(store, marks)

    with monkeypatch.context() as patch:
        patch.setattr(store, "node_of", lambda key: str(key.endswith(out)))
        patch.setattr(store, "unmark", unmark)
        process.agent.harvest(*process.recorded)
        assert process.undelivered == 1
        assert [mark.key for mark in process.votes.delivery.outbox(APPLICATION).delivered] == [
            f"fb:{out}"
        ]
    process.agent.harvest()
    assert process.undelivered == 0


def test_what_was_let_go_while_the_store_is_down_is_let_go_later(start):
    process = start()
    process.rate(process.stash())

    with failing(process.votes.store, "take"):
        for _ in range(2):
            process.agent.harvest()
        process.rate(process.stash())
        for _ in range(2):
            process.agent.harvest()
    assert len(process.recorded) == 2
    process.agent.harvest()
    assert len(process.recorded) == 4


def test_an_agent_that_does_not_say_what_arrived_is_trusted_after_two_harvests(start, monkeypatch):
    monkeypatch.setattr("feedback_blueprint.delivery.sees_what_arrives", lambda: False)
    process = start()
    process.rate(process.stash())
    process.agent.harvest()
    assert process.undelivered == 1
    process.agent.harvest()
    assert process.undelivered == 0
    assert len(process.recorded) == 1


def test_an_agent_whose_harvests_cannot_be_seen_leaves_no_mark(start):
    process = start()
    process.agent.change_limits(application=None)
    assert process.rate(process.stash()).status_code == 202
    assert len(process.recorded) == 1
    assert process.undelivered == 0


def test_what_is_refused_for_the_agent_or_the_store_is_counted(start, caplog):
    process = start()
    message_id = process.stash()

    with failing(process.votes.store, "vote"):
        assert process.rate(message_id).status_code == 503
    assert caplog.messages == ["Feedback cannot be kept. Gone. Start it."]
    process.agent.refusal = "Custom events are off."
    assert process.rate(message_id).status_code == 503
    assert caplog.messages[1:] == ["Feedback cannot be recorded. Custom events are off."]
    assert is_quoted(caplog.messages[1])
    assert process.counts == {"VotesRefused": 2}


def test_a_vote_or_a_retraction_that_is_on_no_message_is_counted(start, caplog):
    """Somebody guesses, or a message was lost: who knows how many, can tell."""
    process = start()
    assert process.rate("never made").status_code == 404
    assert process.counts == {"VotesUnknown": 1}
    message_id = process.stash()
    for unknown in ("never made", "x" * 256):
        query = {"message_id": unknown}
        assert process.client.delete("/feedback", query_string=query).status_code == 404
    assert process.counts == {"VotesUnknown": 3}
    query = {"message_id": message_id}
    assert process.client.delete("/feedback", query_string=query).status_code == 404
    assert process.counts == {"VotesUnknown": 3}, "the message is there"
    assert caplog.messages == []


def test_what_else_a_voter_does_wrong_is_not_counted(start):
    process = start()
    assert process.rate(process.stash(), rating="").status_code == 422
    assert process.counts == {}


def test_what_a_users_own_test_took_is_delivered(start):
    process = start()
    with capture_feedback(process.app) as events:
        assert process.rate(process.stash()).status_code == 202
    assert len(events) == 1
    assert process.undelivered == 0


@ON_ALL_STORES
@pytest.mark.parametrize("name", ["feedback", "bot"])
def test_an_event_made_again_has_the_messages_own_id(start, name):
    process = start(name=name)
    message_ids = ["plain", "with:colons", ":first", "ünïcode", "fb:twice"]
    for message_id in message_ids:
        assert process.stash(message_id=message_id) == message_id
        process.rate(message_id)
    for _ in range(2):
        process.agent.harvest()
    again = process.recorded[len(message_ids) :]
    assert sorted(event["message_id"] for event in again) == sorted(message_ids)


@ON_ALL_STORES
def test_two_new_relic_names_deliver_their_own_votes_only(start):
    one, other = start(), start()
    for process in one, other:
        process.agent.change_limits(next_harvest=0)
    other.agent.change_limits(application="another name")
    other.rate(other.stash())
    one.agent.harvest()
    assert one.recorded == []
    other.agent.listener.harvested(Harvest("another name", has_events=True, is_active=True))
    assert len(other.recorded) == 2


def test_a_vote_that_is_forgotten_is_not_delivered_again_and_not_missed(start):
    """The agent still holds its event, and then loses it."""
    process = start()
    process.agent.change_limits(next_harvest=0)
    message_id = process.stash()
    process.rate(message_id)
    [event] = process.recorded
    [removed] = forget(process.votes, None, message_id, print)
    assert removed["feedback_ids"] == [event["feedback_id"]]
    for _ in range(4):
        process.agent.harvest()
    assert process.recorded == [event]
    assert process.counts == {"VotesAccepted": 1}
    assert process.undelivered == 0
    process.agent.harvest(event)
    assert process.undelivered == 0


@pytest.mark.parametrize(
    ("application", "others"),
    [
        (APPLICATION, {"app": {"FEEDBACK_KEY_PREFIX": "other:"}}),
        (APPLICATION, {"name": "bot"}),
        (f"bot:{APPLICATION}", {"name": "bot"}),
    ],
)
def test_apps_that_share_a_store_deliver_their_own_votes_only(start, application, others):
    process, other = start(), start(**others)
    process.agent.change_limits(application=application, next_harvest=0)
    process.rate(process.stash())
    assert process.votes.delivery.backlog(application).votes == 1
    assert other.undelivered == 0
    other.agent.harvest()
    assert other.recorded == []


@pytest.mark.parametrize("name", ["outbox", "!outbox"])
def test_no_message_is_kept_under_the_name_of_an_outbox(start, name):
    process, other = start(), start(name=name)
    process.rate(process.stash())
    assert other.stash(message_id=quote(APPLICATION, safe=""))
    assert process.undelivered == 1


def test_a_mark_is_taken_off_once(start, monkeypatch):
    process = start()
    store, taken_off = process.votes.store, []
    unmark = store.unmark

    def counted(marks):
        taken_off.append(len(marks))
        unmark(marks)

    monkeypatch.setattr(store, "unmark", counted)
    process.rate(process.stash())
    process.agent.harvest(*process.recorded)
    process.agent.harvest()
    assert taken_off == [1]
