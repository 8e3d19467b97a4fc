"""The contract of every store for votes that are not yet delivered: marks, leases, a backlog."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from contract import ANN, BOB, OUTBOX, TRACE_ID, WEEK, cast
from processes import wait_until
from redis_cluster import RedisCluster

from feedback_blueprint.stores import (
    ANYONE,
    RETRACTED,
    Backlog,
    Ballot,
    Message,
    RedisStore,
    store_from_url,
)
from feedback_blueprint.stores.sqlite_layout import RENEW, SCHEMA, TAKE, TAKEN, UNMARK


@pytest.fixture
def message(store):
    """A message that anyone may rate."""
    made = Message(TRACE_ID, context={"model": "m"})
    store.stash("m", made, WEEK)
    return made


def take(store, limit=10, *, lease=60, **marks):
    return store.take(OUTBOX, lease, limit, **marks)


def test_a_vote_is_left_to_whoever_has_its_lease(store, message):
    cast(store, lease=60)
    assert take(store) == []


def test_a_vote_without_a_lease_is_taken_over_with_all_that_its_event_needs(store, message):
    outcome = cast(store, raters=(ANN,), lease=0)
    [taken] = take(store)
    assert taken == (outcome.mark, message, 1, b'["good"]')
    assert outcome.mark == (outcome.mark.outbox, "m", ANN, outcome.cast_at)
    assert take(store) == [], "whoever took it over has the lease"


def test_a_lease_that_has_ended_makes_a_vote_anybodys(store, message):
    cast(store, lease=0.3)
    assert wait_until(lambda: take(store, lease=0.3), "the end of the first lease")
    assert wait_until(lambda: take(store), "the end of the second lease")


def test_a_lease_that_is_renewed_does_not_end(store, message):
    mark = cast(store, lease=0.3).mark
    other = cast(store, raters=(ANN,), lease=0.3).mark
    assert take(store, held=[mark]) == []
    assert [each.mark for each in wait_until(lambda: take(store), "the other's")] == [other]


def test_what_is_let_go_is_anybodys_at_once(store, message):
    mark = cast(store).mark
    cast(store, raters=(ANN,))
    assert [each.mark for each in take(store, let_go=[mark])] == [mark]


def test_no_more_is_taken_than_there_is_room_for(store):
    for number in range(5):
        store.stash(f"m{number}", Message(TRACE_ID), WEEK)
        store.vote(f"m{number}", [ANYONE], Ballot(b"[1]", 20, OUTBOX, 0))
    assert take(store, 0) == []
    taken = []
    while some := take(store, 2):
        taken.append([each.mark.key for each in some])
    assert sorted(itertools.chain(*taken)) == [f"m{number}" for number in range(5)]
    if not isinstance(store, RedisStore) or not store._is_cluster:
        assert list(map(len, taken)) == [2, 2, 1]


def test_a_vote_whose_mark_was_taken_off_is_delivered(store, message):
    mark = cast(store, lease=0).mark
    store.unmark([mark])
    assert take(store) == []
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert store.show("m").votes[ANYONE].undelivered_since is None
    store.unmark([mark])
    assert cast(store).status == "unchanged"


def test_a_newer_vote_keeps_its_mark_if_the_older_one_arrives(store, message):
    older, newer = cast(store, b"[1]").mark, cast(store, b"[2]", lease=0).mark
    assert newer.cast_at > older.cast_at
    store.unmark([older])
    assert store.backlog(OUTBOX).votes == 1
    [taken] = wait_until(lambda: take(store), "the vote to be due, a millisecond after the older")
    assert (taken.revision, taken.vote) == (2, b"[2]")


def test_a_vote_that_was_replaced_is_not_taken_over(store, message):
    cast(store, b"[1]", lease=0)
    cast(store, b"[2]", lease=60)
    assert take(store) == []
    assert store.backlog(OUTBOX).votes == 1


def test_a_retraction_is_marked_too(store, message):
    store.unmark([cast(store).mark])
    cast(store, RETRACTED, lease=0)
    assert [(each.revision, each.vote) for each in take(store)] == [(2, RETRACTED)]


def test_what_leaves_nothing_to_deliver_leaves_no_mark(store, message):
    assert cast(store, RETRACTED, lease=0).status == "unchanged"
    assert store.vote("x", [ANYONE], Ballot(b"[1]", 20, OUTBOX)).status == "unknown"
    assert cast(store, lease=0, outbox=None).status == "accepted"
    assert cast(store, b"[2]", limit=1, lease=0).status == "too-many"
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert take(store) == []


def test_a_vote_without_a_mark_takes_the_older_ones_place(store, message):
    cast(store, b"[1]", lease=0)
    assert cast(store, b"[2]", outbox=None)[:2] == ("accepted", 2)
    assert store.show("m").votes[ANYONE].undelivered_since is None
    assert take(store) == []


def test_the_same_vote_again_keeps_its_mark(store, message):
    mark = cast(store, lease=0).mark
    assert cast(store, lease=60).status == "unchanged"
    assert [each.mark for each in take(store)] == [mark]


def test_each_application_takes_its_own_votes(store, message):
    cast(store, lease=0, outbox="!outbox:other")
    assert take(store) == []
    assert store.backlog(OUTBOX).votes == 0
    assert store.backlog("!outbox:other").votes == 1


def test_of_an_expired_message_only_the_mark_is_left(store):
    store.stash("m", Message(TRACE_ID), timedelta(milliseconds=200))
    mark = cast(store, lease=0.4).mark
    [taken] = wait_until(lambda: take(store), "the end of the lease")
    assert (taken.mark, taken.message) == (mark, None)
    store.unmark([mark])
    assert store.backlog(OUTBOX) == Backlog(0, None)


def test_a_mark_of_an_id_that_was_used_again_is_that_of_an_expired_message_at_most(store):
    store.stash("m", Message(TRACE_ID), timedelta(milliseconds=200))
    cast(store, lease=0.4)
    wait_until(lambda: store.read(["m"], [ANYONE]) == [None], "expired")
    store.stash("m", Message("f" * 32), WEEK)
    wait_until(lambda: store.backlog(OUTBOX).votes == 0 or take(store), "the end of the lease")
    assert all(each.message is None for each in take(store))


def test_the_backlog_is_counted_and_its_oldest_known(store, message):
    assert store.backlog(OUTBOX) == Backlog(0, None)
    first = cast(store, raters=(ANN,), lease=60)
    cast(store, raters=(BOB,), lease=0)
    assert store.backlog(OUTBOX) == Backlog(2, first.cast_at)
    assert store.show("m").votes[ANN].undelivered_since == first.cast_at


def test_of_many_that_take_at_once_each_vote_goes_to_one(store):
    keys = [f"m{number}" for number in range(60)]
    for key in keys:
        store.stash(key, Message(TRACE_ID), WEEK)
        store.vote(key, [ANYONE], Ballot(b"[1]", 20, OUTBOX, 0))
    with ThreadPoolExecutor(8) as pool:
        taken = [
            each.mark.key for some in pool.map(lambda _: take(store, 64), range(8)) for each in some
        ]
    assert Counter(taken) == Counter(keys)


def test_a_file_keeps_an_expired_message_until_it_is_known_that_its_vote_was_not_delivered(
    tmp_path, monkeypatch
):
    """A clean-up comes by chance: here with each message."""
    monkeypatch.setattr("feedback_blueprint.stores.sqlite.random.random", lambda: 0.0)
    url = f"sqlite:///{tmp_path}/feedback.sqlite3"
    store = store_from_url(url, timeout=2, instance_path="", key="KEY")
    store.stash("m", Message(TRACE_ID), timedelta(milliseconds=100))
    mark = cast(store, lease=0).mark
    wait_until(lambda: store.read(["m"], [ANYONE]) == [None], "expired")
    store.stash("n", Message(TRACE_ID), WEEK)
    assert take(store) == [(mark, None, 0, RETRACTED)]
    store.unmark([mark])
    store.stash("o", Message(TRACE_ID), WEEK)
    assert "2 messages" in store.inspect()[0].seen


@pytest.mark.parametrize(
    "statement", [RENEW, UNMARK, TAKE, TAKEN], ids=["renew", "unmark", "take", "taken"]
)
def test_a_file_is_not_searched_through_for_a_few_marks(statement):
    """SQLite would keep all voters waiting meanwhile: seconds, for a million votes."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for part in SCHEMA:
        connection.execute(part)
    names = dict.fromkeys(("outbox", "now", "until", "limit"), 1)
    values = names if ":" in statement else [1] * statement.count("?")
    statement = statement.format(marks="('m', 'r', 1), ('n', 'r', 1)")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
    steps = [step for *_, step in plan if "votes" in step]
    assert steps
    assert all("PRIMARY KEY" in step or "(outbox=?" in step for step in steps), steps


def test_in_a_cluster_a_vote_that_could_not_be_put_in_an_outbox_is_put_there_by_the_next_try(
    redis_cluster: RedisCluster, monkeypatch
):
    store = store_from_url(redis_cluster.fresh_url(), timeout=2, instance_path="", key="KEY")
    store.stash("m", Message(TRACE_ID), WEEK)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_index", lambda *_: 1 / 0)  # as if the process ended here
        with pytest.raises(ZeroDivisionError):
            cast(store, lease=0)
    assert take(store) == []
    assert cast(store, lease=0).status == "unchanged"
    assert len(take(store)) == 1


def test_what_processes_announced_within_an_hour_is_known(store):
    assert store.announce("keys", b"a") == [b"a"]
    assert sorted(store.announce("keys", b"b")) == [b"a", b"b"]
    assert sorted(store.announce("keys", b"a")) == [b"a", b"b"]
    assert store.announce("others", b"c") == [b"c"]


def test_what_a_file_was_told_more_than_an_hour_ago_is_forgotten(tmp_path, monkeypatch):
    store = store_from_url(f"sqlite:///{tmp_path}/f", timeout=2, instance_path="", key="KEY")
    store.announce("keys", b"a")
    now = time.time() + 3601
    monkeypatch.setattr("feedback_blueprint.stores.sqlite.time.time", lambda: now)
    assert store.announce("keys", b"b") == [b"b"]


def test_in_a_cluster_an_older_vote_leads_to_a_newer_one_that_is_in_no_outbox(
    redis_cluster: RedisCluster, monkeypatch
):
    store = store_from_url(redis_cluster.fresh_url(), timeout=2, instance_path="", key="KEY")
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, b"[1]", lease=0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_index", lambda *_: 1 / 0)  # as if the process ended here
        with pytest.raises(ZeroDivisionError):
            cast(store, b"[2]", lease=0)
    [taken] = wait_until(lambda: take(store, lease=0), "the newer vote")
    assert (taken.revision, taken.vote) == (2, b"[2]")
    assert store.backlog(OUTBOX).votes == 1


def test_in_a_cluster_votes_are_spread_like_their_messages(redis_cluster: RedisCluster):
    store = store_from_url(redis_cluster.fresh_url(), timeout=2, instance_path="", key="KEY")
    nodes = Counter()
    for number in range(300):
        key = f"m{number}"
        store.stash(key, Message(TRACE_ID), WEEK)
        outbox = store.vote(key, [ANYONE], Ballot(b"[1]", 20, OUTBOX, 60)).mark.outbox
        assert redis_cluster.node_of(outbox) is redis_cluster.node_of(key)
        nodes[redis_cluster.node_of(outbox).port] += 1
    assert len(nodes) == 3
