"""The contract of every store for votes: whose they are, their revisions, and many at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract import (
    ANN,
    BOB,
    DEFAULT_VOTE_TTL,
    TRACE_ID,
    WEEK,
    cast,
    seconds_left,
    store_at,
    votes_shown,
)
from store_kinds import STORES

from feedback_blueprint.model import ANYONE, RETRACTED, Message, StoredVote, VoteResult


def test_a_vote_on_an_unknown_message_leaves_no_trace(store):
    assert cast(store).status == "unknown"
    assert store.stash("m", Message(TRACE_ID), WEEK)
    assert store.read(["m"], [ANYONE])[0].revision == 0


def test_a_message_is_its_owners_alone(store):
    store.stash("m", Message(TRACE_ID, ANN), WEEK)
    for stranger in ANYONE, BOB:
        assert cast(store, raters=(stranger,)) == VoteResult("unknown")
        assert store.read(["m"], [stranger]) == [None]
    assert cast(store, raters=(ANN,)).status == "accepted"


def test_an_owner_is_known_by_an_earlier_hash_too(store):
    store.stash("m", Message(TRACE_ID, ANN), WEEK)
    assert cast(store, raters=(BOB, ANN)).revision == 1
    assert cast(store, raters=(ANN,)).status == "unchanged"
    assert store.read(["m"], [BOB, ANN])[0].vote == b'["good"]'


def test_a_vote_on_an_anonymous_message_is_changed_under_the_hash_that_has_it(store):
    """The app's key has been changed since."""
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, raters=(ANN,))
    assert store.read(["m"], [BOB, ANN]) == [
        StoredVote(Message(TRACE_ID), 1, b'["good"]', voter=ANN)
    ]
    assert cast(store, raters=(BOB, ANN)).status == "unchanged"
    changed = cast(store, b"[2]", raters=(BOB, ANN))
    assert (changed.status, changed.revision, changed.voter) == ("accepted", 2, ANN)
    assert changed.mark.voter == ANN
    assert cast(store, b"[3]", raters=(BOB, ANN), limit=2).voter == ANN
    assert cast(store, RETRACTED, raters=(BOB, ANN))[:2] == ("accepted", 3)
    assert cast(store, b"[4]", raters=(BOB, ANN)).voter == ANN
    assert votes_shown(store, "m").keys() == {ANN}


def test_a_first_vote_on_an_anonymous_message_is_kept_under_the_current_hash(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast(store, raters=(BOB, ANN)).voter == BOB
    assert votes_shown(store, "m").keys() == {BOB}


def test_of_votes_under_two_hashes_the_first_ones_counts(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    for rater, vote in ((ANN, b"[1]"), (BOB, b"[2]")):
        cast(store, vote, raters=(rater,))
    assert store.read(["m"], [BOB, ANN])[0].vote == b"[2]"
    assert store.read(["m"], [ANN, BOB])[0].vote == b"[1]"
    assert cast(store, b"[3]", raters=(ANN, BOB)).voter == ANN


def test_each_rater_of_an_anonymous_message_has_a_vote(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    for rater in ANYONE, ANN, BOB:
        assert cast(store, raters=(rater,))[:2] == ("accepted", 1)
    assert cast(store, b"[2]", raters=(ANN,)).revision == 2
    assert store.read(["m"], [BOB])[0][1:3] == (1, b'["good"]')
    assert store.read(["m"], [ANN])[0][1:3] == (2, b"[2]")


def test_a_vote_that_stands_is_unchanged_when_cast_again(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast(store).status == "accepted"
    assert cast(store)[:2] == ("unchanged", 1)


def test_a_b_a_are_three_revisions(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    revisions = [cast(store, vote).revision for vote in (b"[1]", b"[2]", b"[1]")]
    assert revisions == [1, 2, 3]


def test_a_retraction_needs_a_vote_and_counts_on(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast(store, RETRACTED)[:2] == ("unchanged", 0)
    cast(store)
    assert cast(store, RETRACTED)[:2] == ("accepted", 2)
    assert cast(store, RETRACTED)[:2] == ("unchanged", 2)
    assert cast(store)[:2] == ("accepted", 3)


def test_revisions_end_at_the_limit(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    for number in range(3):
        assert cast(store, b"[%d]" % number, limit=3).status == "accepted"
    assert cast(store, b"[3]", limit=3)[:2] == ("too-many", 3)
    assert cast(store, b"[2]", limit=3)[:2] == ("unchanged", 3)
    assert cast(store, RETRACTED, limit=3)[:2] == ("accepted", 4), "a vote can always be taken back"
    assert cast(store, b"[2]", limit=3)[:2] == ("too-many", 4)


def test_different_votes_at_once_make_revisions_without_gap(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    barrier = threading.Barrier(40)

    def vote(number: int) -> int:
        barrier.wait()
        return cast(store, b"[%d]" % number, limit=100).revision

    with ThreadPoolExecutor(40) as pool:
        assert sorted(pool.map(vote, range(40))) == list(range(1, 41))


@pytest.mark.parametrize("kind", STORES)
def test_different_votes_of_two_processes_make_revisions_without_gap(new_store_url, kind):
    """Each store here has connections of its own, as each process has."""
    url = new_store_url(kind)
    stores = [store_at(url, timeout=5) for _ in "12"]
    stores[0].stash("m", Message(TRACE_ID), WEEK)

    def vote(number: int) -> int:
        return cast(stores[number % 2], b"[%d]" % number, limit=1000).revision

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(vote, range(600))) == list(range(1, 601))


def test_the_same_vote_at_once_stands_once(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    barrier = threading.Barrier(40)

    def vote(_: int) -> str:
        barrier.wait()
        return cast(store).status

    with ThreadPoolExecutor(40) as pool:
        assert sorted(pool.map(vote, range(40))) == ["accepted"] + ["unchanged"] * 39


def test_a_store_goes_through_a_fork(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if cast(store).status == "accepted":
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert cast(store).status == "unchanged"
    assert store.stash("n", Message(TRACE_ID), WEEK)


def test_all_that_is_kept_is_shown(store):
    assert store.show("m") is None
    store.stash("m", Message(TRACE_ID, context={"model": "m"}), WEEK)
    assert store.show("m").votes == []
    first = cast(store, b'["very good"]', raters=(ANN,), outbox=None)
    second = cast(store, b"[2]", raters=(BOB,))
    assert store.show("m").message == Message(TRACE_ID, context={"model": "m"})
    rateable_for, expires_in = seconds_left(store, "m")
    assert WEEK.total_seconds() - 60 < rateable_for <= WEEK.total_seconds()
    assert DEFAULT_VOTE_TTL.total_seconds() - 60 < expires_in <= DEFAULT_VOTE_TTL.total_seconds()
    assert votes_shown(store, "m") == {
        ANN: (ANN, 1, b'["very good"]', first.cast_at, False),
        BOB: (BOB, 1, b"[2]", second.cast_at, True),
    }
