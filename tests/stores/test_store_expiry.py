"""The contract of every store for how long a message can be rated, and a vote be changed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from contract import ANN, BOB, DEFAULT_VOTE_TTL, TRACE_ID, WEEK, cast, seconds_left, store_at
from processes import wait_until

from feedback_blueprint.model import ANYONE, RETRACTED, Message, StoredVote, VoteResult
from feedback_blueprint.stores.sqlite.layout import MARGIN

SHORT = timedelta(milliseconds=500)


def expire(store, *raters):
    """Wait until nobody new can rate the message."""
    wait_until(lambda: store.read(["m"], raters or (BOB,)) == [None], "expired")


@pytest.mark.parametrize("content", [None, "text"])
def test_after_its_time_a_message_is_there_for_who_has_a_vote_on_it_alone(store, content):
    message = Message(TRACE_ID, context={"model": "m"}, content=content)
    store.stash("m", message, SHORT)
    assert cast(store, raters=(ANN,)).status == "accepted"
    assert store.read(["m"], [BOB]) != [None]
    expire(store)
    for stranger in BOB, ANYONE:
        assert store.read(["m"], [stranger]) == [None]
        for vote in b"[1]", RETRACTED:
            assert cast(store, vote, raters=(stranger,)) == VoteResult("unknown")
    known = message._replace(content=None)
    assert store.read(["m"], [ANN]) == [StoredVote(known, 1, b'["good"]', voter=ANN)]
    assert cast(store, b"[2]", raters=(ANN,))[:3] == ("accepted", 2, known)
    assert cast(store, RETRACTED, raters=(ANN,))[:2] == ("accepted", 3)
    assert store.read(["m"], [ANN]) == [StoredVote(known, 3, RETRACTED, voter=ANN)]
    assert cast(store, b"[2]", raters=(ANN,))[:2] == ("accepted", 4)
    assert store.read(["m"], [BOB]) == [None]
    assert seconds_left(store, "m")[0] < 0


def test_after_its_time_an_owner_keeps_a_vote_under_an_earlier_hash_too(store):
    store.stash("m", Message(TRACE_ID, ANN), SHORT)
    store.stash("n", Message(TRACE_ID, ANN), SHORT)
    cast(store, raters=(ANN,))
    wait_until(lambda: store.read(["n"], [ANN]) == [None], "expired")
    assert store.read(["m"], [BOB]) == [None]
    assert store.read(["m"], [BOB, ANN])[0].vote == b'["good"]'
    assert cast(store, b"[2]", raters=(BOB, ANN)).revision == 2


def test_a_key_is_taken_for_as_long_as_a_vote_is_kept(store):
    short = timedelta(seconds=1.5)
    store.stash("m", Message(TRACE_ID), SHORT)
    cast(store, raters=(ANN,), ttl=short)
    expire(store)
    assert not store.stash("m", Message("f" * 32), WEEK)
    expire(store, ANN)
    assert store.stash("m", Message("f" * 32), WEEK)
    assert store.read(["m"], [ANN]) == [StoredVote(Message("f" * 32))]


def test_a_vote_that_is_too_old_is_as_if_it_were_not_there(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, b"[1]", raters=(ANN,))
    cast(store, b"[2]", raters=(ANN,))
    wait_until(
        lambda: store.read(["m"], [ANN], SHORT) == [StoredVote(Message(TRACE_ID))], "too old"
    )
    assert cast(store, RETRACTED, raters=(ANN,), ttl=SHORT)[:2] == ("unchanged", 0)
    assert store.read(["m"], [ANN])[0].revision == 2, "by another's time it is there"
    assert cast(store, b"[2]", raters=(ANN,), ttl=SHORT, limit=1)[:2] == ("accepted", 1)
    assert store.read(["m"], [ANN], SHORT)[0].vote == b"[2]"


def test_a_vote_that_is_too_old_holds_no_newer_one_under_its_hash(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, raters=(ANN,))
    raters = BOB, ANN
    wait_until(
        lambda: store.read(["m"], raters, SHORT) == [StoredVote(Message(TRACE_ID))], "too old"
    )
    assert cast(store, raters=raters, ttl=SHORT)[:2] == ("accepted", 1)
    assert store.read(["m"], raters)[0].voter == BOB


def test_a_vote_that_is_too_old_is_gone_if_another_keeps_the_message(store):
    store.stash("m", Message(TRACE_ID), SHORT)
    cast(store, raters=(ANN,))
    cast(store, raters=(BOB,))
    expire(store, ANYONE)
    wait_until(lambda: store.read(["m"], [ANN], SHORT) == [None], "too old")
    assert cast(store, b"[2]", raters=(ANN,), ttl=SHORT).status == "unknown"
    assert store.read(["m"], [BOB])[0].vote == b'["good"]'


@pytest.mark.parametrize("content", [None, "text"])
def test_a_vote_keeps_its_message_for_its_own_time_and_shortens_none(store, content):
    def kept(seconds):
        rateable_for, expires_in = seconds_left(store, "m")
        assert rateable_for <= 60
        assert seconds - 30 < expires_in <= seconds

    store.stash("m", Message(TRACE_ID, content=content), timedelta(seconds=60))
    kept(60)
    cast(store, b"[1]", ttl=timedelta(seconds=5))
    kept(60)
    cast(store, b"[2]", ttl=timedelta(seconds=1000))
    kept(1000)
    cast(store, b"[2]", ttl=timedelta(seconds=5000))
    kept(1000)
    cast(store, b"[3]", ttl=timedelta(seconds=100))
    kept(1000)
    cast(store, RETRACTED, ttl=DEFAULT_VOTE_TTL)
    kept(DEFAULT_VOTE_TTL.total_seconds())


def test_what_is_amended_can_be_rated_and_is_kept_as_long_as_before(store):
    for number, content in enumerate((None, "text")):
        key = f"m{number}"
        store.stash(key, Message(TRACE_ID), timedelta(seconds=60))
        store.amend(key, Message(TRACE_ID, context={"n": 1}, content=content))
        assert all(30 < left <= 60 for left in seconds_left(store, key))


def test_a_mark_is_kept_as_long_as_its_vote(store):
    message = Message(TRACE_ID)
    store.stash("m", message, SHORT)
    cast(store, raters=(ANN,), lease=0)
    expire(store)
    [taken] = store.take("!outbox:tests", 60, 100)
    assert taken[1:] == (message, 1, b'["good"]')


def test_what_has_expired_goes_without_traffic(new_store_url, ahead):
    """From a file, a hundred messages at a time; a vote that was not delivered waits."""
    store = store_at(new_store_url("sqlite"))
    for number in range(150):
        store.stash(f"m{number}", Message(TRACE_ID), SHORT)
    store.stash("m", Message(TRACE_ID), SHORT)
    cast(store, ttl=SHORT)
    store.stash("lives", Message(TRACE_ID), WEEK)
    wait_until(lambda: store.read(["m", "m149"], [BOB]) == [None, None], "expired")

    def count():
        with store._connected() as execute:
            return execute("SELECT count(*) FROM messages").fetchone()[0]

    store.clean_up()
    assert count() == 152, "the clock may come back"
    ahead(MARGIN + 3600)
    store.clean_up()
    assert count() == 52
    store.clean_up()
    assert count() == 2


def test_cleaning_up_does_not_harm_what_lives(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    store.clean_up()
    assert store.read(["m"], [ANN]) == [StoredVote(Message(TRACE_ID))]
