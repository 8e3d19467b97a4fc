"""The contract of every store for votes: whose they are, their revisions, and many at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from contract import ANN, BOB, TRACE_ID, WEEK, cast, cast_and_confirm, confirm

from feedback_blueprint.stores import (
    ANYONE,
    RETRACTED,
    Message,
)


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


def test_all_that_is_kept_is_shown(store):
    assert store.show("m") is None
    store.stash("m", Message(TRACE_ID, context={"model": "m"}), WEEK)
    assert store.show("m").votes == {}
    cast_and_confirm(store, b'["very good"]', raters=(ANN,))
    cast(store, b"[2]", raters=(BOB,))
    message, expires_in, votes = store.show("m")
    assert message == Message(TRACE_ID, context={"model": "m"})
    assert WEEK.total_seconds() - 60 < expires_in <= WEEK.total_seconds()
    assert {rater: standing[1:] for rater, standing in votes.items()} == {
        ANN: (1, b'["very good"]', False),
        BOB: (1, b"[2]", True),
    }
    for rater, standing in votes.items():
        assert store.read(["m"], [rater]) == [standing]
