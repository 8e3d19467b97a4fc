"""The contract of every store: SQLite and Redis, alone or several, keep it alike."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from conftest import SCALED_OUT, STORES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import wait_until

from feedback_blueprint.stores import (
    ANYONE,
    RETRACTED,
    Ballot,
    Confirmation,
    Message,
    Store,
    store_from_url,
)

WEEK = timedelta(days=7)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ANN, BOB = b"a" * 16, b"b" * 16


@pytest.fixture(params=STORES + SCALED_OUT)
def store_url(request: pytest.FixtureRequest, new_store_url: Callable[[str], str]) -> str:
    return new_store_url(request.param)


@pytest.fixture
def store(store_url: str) -> Store:
    return store_from_url(store_url, timeout=2, instance_path="", key="FEEDBACK_STORE_URL")


def cast(store, vote=b'["good"]', *, raters=(ANYONE,), attempt=None, instead_of=b"", limit=20):
    return store.vote("m", raters, Ballot(vote, attempt or os.urandom(8), limit, instead_of))


def confirm(store, voter, attempt):
    store.confirm([Confirmation("m", voter, attempt)])


def cast_and_confirm(store, vote=b'["good"]', **kwargs):
    attempt = os.urandom(8)
    outcome = cast(store, vote, attempt=attempt, **kwargs)
    if outcome.status == "accepted":
        voter = outcome.message.voter(kwargs.get("raters", (ANYONE,)))
        confirm(store, voter, attempt)
    return outcome


MESSAGES = [
    Message(TRACE_ID),
    Message(TRACE_ID, ANN),
    Message(TRACE_ID, ANN, {"model": "m", "n": 1, "x": 0.5, "on": True, "é": "日本"}, "text\n\0"),
    Message(TRACE_ID.upper(), ANYONE),
    Message("not hex at all", ANN),
    Message("ab", ANYONE, {}, ""),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_whole(store, message):
    assert store.stash("m", message, WEEK)
    assert cast(store, raters=(ANN,)).message == message
    assert store.read(["m"], [ANN])[0].message == message


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace_id=st.text(st.characters(codec="utf-8")), owner=st.sampled_from([ANYONE, ANN]))
def test_any_trace_id_comes_back(store, trace_id, owner):
    key = os.urandom(8).hex()
    message = Message(trace_id, owner)
    assert store.stash(key, message, WEEK)
    assert store.read([key], [ANN])[0].message == message


def test_the_first_message_under_a_key_stands(store):
    assert store.stash("m", Message(TRACE_ID), WEEK)
    assert not store.stash("m", Message("f" * 32), WEEK)
    assert store.read(["m"], [ANYONE])[0].message.trace_id == TRACE_ID
    cast(store)
    assert not store.stash("m", Message("f" * 32), WEEK)
    assert store.read(["m"], [ANYONE])[0].message.trace_id == TRACE_ID


def test_a_message_sent_twice_is_kept_once(store):
    """A lost answer makes the client send it again."""
    assert store.stash("m", Message(TRACE_ID), WEEK)
    assert store.stash("m", Message(TRACE_ID), WEEK)


def test_a_message_that_expired_is_unknown_and_its_key_free(store):
    store.stash("m", Message(TRACE_ID), timedelta(milliseconds=300))
    cast_and_confirm(store)
    wait_until(lambda: store.read(["m"], [ANYONE]) == [None], "expired")
    assert cast(store).status == "unknown"
    assert store.stash("m", Message("f" * 32), WEEK)
    assert store.read(["m"], [ANYONE])[0].vote is None
    assert cast(store).revision == 1


def test_a_vote_does_not_lengthen_or_shorten_a_message(store):
    store.stash("m", Message(TRACE_ID), timedelta(seconds=1))
    for vote in b"[1]", b"[2]":
        cast_and_confirm(store, vote)
    assert store.read(["m"], [ANYONE]) != [None]
    wait_until(lambda: store.read(["m"], [ANYONE]) == [None], "expired")


def test_a_message_can_be_amended_before_and_after_its_first_vote(store):
    store.stash("m", Message(TRACE_ID, ANN), WEEK)
    store.amend("m", Message(TRACE_ID, ANN, {"model": "m"}))
    assert store.read(["m"], [ANN])[0].message.context == {"model": "m"}
    cast_and_confirm(store, raters=(ANN,))
    store.amend("m", Message(TRACE_ID, ANN, {"model": "m"}, "text"))
    assert store.read(["m"], [ANN])[0].message.content == "text"
    assert store.read(["m"], [ANN])[0].vote == b'["good"]'


def test_amending_an_unknown_message_makes_none(store):
    store.amend("m", Message(TRACE_ID))
    assert store.read(["m"], [ANYONE]) == [None]


def test_a_vote_on_an_unknown_message_leaves_no_trace(store):
    assert cast(store).status == "unknown"
    assert store.stash("m", Message(TRACE_ID), WEEK)
    assert store.read(["m"], [ANYONE])[0].revision == 0


def test_a_message_is_its_owners_alone(store):
    store.stash("m", Message(TRACE_ID, ANN), WEEK)
    for stranger in ANYONE, BOB:
        assert cast(store, raters=(stranger,)) == ("unknown", 0, None, b"")
        assert store.read(["m"], [stranger]) == [None]
    assert cast(store, raters=(ANN,)).status == "accepted"


def test_an_owner_is_known_by_an_earlier_hash_too(store):
    store.stash("m", Message(TRACE_ID, ANN), WEEK)
    assert cast_and_confirm(store, raters=(BOB, ANN)).revision == 1
    assert cast(store, raters=(ANN,)).status == "unchanged"
    assert store.read(["m"], [BOB, ANN])[0].vote == b'["good"]'


def test_each_rater_of_an_anonymous_message_has_a_vote(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    for rater in ANYONE, ANN, BOB:
        assert cast_and_confirm(store, raters=(rater,))[:2] == ("accepted", 1)
    assert cast_and_confirm(store, b"[2]", raters=(ANN,)).revision == 2
    assert store.read(["m"], [BOB])[0][1:] == (1, b'["good"]', False)
    assert store.read(["m"], [ANN])[0][1:] == (2, b"[2]", False)


def test_a_confirmed_vote_is_unchanged_when_cast_again(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast_and_confirm(store).status == "accepted"
    assert cast(store)[:2] == ("unchanged", 1)


def test_an_unconfirmed_vote_waits_for_its_attempt_or_is_taken_over(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, attempt=b"first...")
    waiting = cast(store, attempt=b"second..")
    assert (waiting.status, waiting.attempt) == ("pending", b"first...")
    assert cast(store, attempt=b"second..", instead_of=b"another.").status == "pending"
    assert store.read(["m"], [ANYONE])[0].pending
    assert cast(store, attempt=b"second..", instead_of=b"first...")[:2] == ("accepted", 1)
    confirm(store, ANYONE, b"first...")
    assert cast(store).status == "pending", "only the attempt that has it confirms it"
    confirm(store, ANYONE, b"second..")
    assert cast(store).status == "unchanged"


def test_the_same_attempt_may_be_sent_twice(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast(store, attempt=b"first...")[:2] == ("accepted", 1)
    assert cast(store, attempt=b"first...")[:2] == ("accepted", 1)


def test_another_vote_does_not_wait(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, b"[1]")
    assert cast(store, b"[2]", attempt=b"second..")[:2] == ("accepted", 2)
    confirm(store, ANYONE, b"second..")
    assert store.read(["m"], [ANYONE])[0][1:] == (2, b"[2]", False)


def test_a_b_a_are_three_revisions(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    revisions = [cast_and_confirm(store, vote).revision for vote in (b"[1]", b"[2]", b"[1]")]
    assert revisions == [1, 2, 3]


def test_a_retraction_needs_a_vote_and_counts_on(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast(store, RETRACTED)[:2] == ("unchanged", 0)
    cast_and_confirm(store)
    assert cast_and_confirm(store, RETRACTED)[:2] == ("accepted", 2)
    assert cast(store, RETRACTED)[:2] == ("unchanged", 2)
    assert cast_and_confirm(store)[:2] == ("accepted", 3)


def test_revisions_end_at_the_limit(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    for number in range(3):
        assert cast_and_confirm(store, b"[%d]" % number, limit=3).status == "accepted"
    assert cast(store, b"[3]", limit=3)[:2] == ("too-many", 3)
    assert cast(store, b"[2]", limit=3)[:2] == ("unchanged", 3)


def test_reading_keeps_the_order_and_marks_the_unknown(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    store.stash("n", Message("f" * 32), WEEK)
    cast_and_confirm(store)
    standings = store.read(["n", "x", "m", "n"], [ANYONE])
    assert [standing and standing.message.trace_id for standing in standings] == [
        "f" * 32,
        None,
        TRACE_ID,
        "f" * 32,
    ]
    assert [standing.vote for standing in standings if standing] == [None, b'["good"]', None]
    assert store.read([], [ANYONE]) == []


def test_different_votes_at_once_make_revisions_without_gap(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    barrier = threading.Barrier(40)

    def vote(number: int) -> int:
        barrier.wait()
        return cast_and_confirm(store, b"[%d]" % number, limit=100).revision

    with ThreadPoolExecutor(40) as pool:
        assert sorted(pool.map(vote, range(40))) == list(range(1, 41))


def test_the_same_vote_at_once_stands_once(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    barrier = threading.Barrier(40)

    def vote(_: int) -> str:
        barrier.wait()
        return cast(store).status

    with ThreadPoolExecutor(40) as pool:
        assert sorted(pool.map(vote, range(40))) == ["accepted"] + ["pending"] * 39


def test_a_store_goes_through_a_fork(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if cast_and_confirm(store).status == "accepted":
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert cast(store).status == "unchanged"
    assert store.stash("n", Message(TRACE_ID), WEEK)
