"""The contract of every store for a message that takes the place of another of its rater."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from datetime import timedelta

import pytest
from contract import (
    ANN,
    BOB,
    OUTBOX,
    TRACE_ID,
    WEEK,
    cast,
    is_cluster,
    seconds_left,
    store_at,
    votes_shown,
)
from processes import wait_until

from feedback_blueprint.model import ANYONE, RETRACTED, Backlog, Message, StoredVote, VoteRequest
from feedback_blueprint.stores import RedisStore, SQLiteStore
from feedback_blueprint.stores.redis.layout import pack_time

OLD = Message(TRACE_ID, ANN, {"model": "m"})


def new(number=1, owner=ANN, **fields):
    return Message(f"{number:032x}", owner, nonce=os.urandom(8), **fields)


def replace(store, message, *raters, ttl=WEEK):
    return store.stash("m", message, ttl, may_replace=raters or (message.owner,))


def take(store, votes):
    """Take over what is undelivered: so many votes, which are due in a millisecond at most."""
    taken = {}

    def all_taken():
        taken.update({each.mark: each for each in store.take(OUTBOX, 0, 6400)})
        return len(taken) == votes

    wait_until(all_taken, f"{votes} votes")
    return sorted(taken.values(), key=lambda each: each.mark.cast_at)


@pytest.mark.parametrize("content", [None, "", "text"])
def test_under_a_free_key_it_is_a_message_like_any_other(store, content):
    message = new(content=content, context={"n": 1})
    assert replace(store, message)
    assert store.show("m").message == message
    assert store.read(["m"], [BOB]) == [None]
    assert cast(store, raters=(ANN,)).revision == 1
    assert not store.stash("m", OLD, WEEK)


@pytest.mark.parametrize("content", [None, "text"])
@pytest.mark.parametrize("old_content", [None, "old text"])
@pytest.mark.parametrize("votes", [0, 2])
def test_it_is_a_new_message_without_votes(store, content, old_content, votes):
    store.stash("m", OLD._replace(content=old_content), timedelta(hours=1))
    for number in range(votes):
        store.unmark([cast(store, b"[%d]" % number, raters=(ANN,)).mark])
    message = new(content=content)
    assert replace(store, message)
    shown = store.show("m")
    assert (shown.message, shown.votes) == (message, [])
    for left in seconds_left(store, "m"):
        assert WEEK.total_seconds() - 60 < left <= WEEK.total_seconds()
    assert store.read(["m"], [ANN]) == [StoredVote(message._replace(content=None))]
    assert cast(store, RETRACTED, raters=(ANN,))[:2] == ("unchanged", 0)
    assert cast(store, b"[1]", raters=(ANN,), limit=1)[:2] == ("accepted", 1)
    assert store.backlog(OUTBOX).votes == 1


def test_it_belongs_to_its_raters_first_hash(store):
    store.stash("m", OLD, WEEK)
    message = new(owner=BOB)
    assert replace(store, message, BOB, ANN)
    assert store.read(["m"], [ANN]) == [None]
    assert store.read(["m"], [BOB]) == [StoredVote(message)]


@pytest.mark.parametrize("rated", [False, True])
@pytest.mark.parametrize(("owner", "other"), [(ANN, BOB), (ANN, ANYONE), (ANYONE, ANN)])
def test_another_raters_message_is_left_alone(store, owner, other, rated):
    old = OLD._replace(owner=owner)
    store.stash("m", old, WEEK)
    if rated:
        cast(store, raters=(owner,))
    before = store.show("m")
    assert not replace(store, new(owner=other))
    assert not store.stash("m", new(owner=owner), WEEK), "it says of nobody that it may"
    shown = store.show("m")
    assert (shown.message, shown.votes) == (old, before.votes)


def test_an_anonymous_visitors_message_is_any_visitors_to_replace(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, raters=(BOB,))
    message = new(owner=ANYONE)
    assert replace(store, message)
    assert store.read(["m"], [BOB]) == [StoredVote(message)]


@pytest.mark.parametrize("content", [None, "text"])
def test_one_that_is_sent_twice_takes_no_vote_away(store, content):
    """A lost answer makes the client send it again."""
    messages = [new(content=content), new(content=content)]
    for message in messages:
        assert replace(store, message)
        cast(store, raters=(ANN,))
        store.amend("m", message._replace(context={"n": 1}))
        assert replace(store, message)
        assert store.read(["m"], [ANN])[0][1:3] == (1, b'["good"]')
        assert store.show("m").message.context == {"n": 1}


def test_what_can_no_longer_be_rated_and_is_kept_for_its_vote_is_replaced(store):
    store.stash("m", OLD, timedelta(milliseconds=300))
    store.stash("n", OLD, timedelta(milliseconds=300))
    cast(store, raters=(ANN,))
    wait_until(lambda: store.read(["n"], [ANN]) == [None], "expired")
    assert not store.stash("m", OLD._replace(trace_id="f" * 32), WEEK)
    assert replace(store, new())
    assert cast(store, raters=(ANN,)).revision == 1


@pytest.mark.parametrize("content", [None, "text"])
def test_votes_on_it_and_on_those_before_are_all_delivered(store, content):
    store.stash("m", OLD._replace(content=content), WEEK)
    cast(store, b"[9]", raters=(ANN,), lease=0)
    marks, expected = [], []
    for number in range(3):
        outcome = cast(store, b"[%d]" % number, raters=(ANN,), lease=0)
        marks.append(outcome.mark)
        expected.append((outcome.mark, outcome.message, outcome.revision, b"[%d]" % number))
        replace(store, new(number, context={"n": number}, content=content))
    marks.append(cast(store, b"[3]", raters=(ANN,), lease=60).mark)
    assert take(store, 3) == expected
    assert store.take(OUTBOX, 60, 640, renew=marks) == []
    assert len(store.take(OUTBOX, 0, 640, release=marks)) == 4
    if not is_cluster(store):
        assert store.backlog(OUTBOX) == Backlog(4, marks[0].cast_at)
    store.unmark(marks[1:3])
    assert [each.mark for each in take(store, 2)] == [marks[0], marks[3]]
    store.unmark([marks[0]])
    assert votes_shown(store, "m")[ANN][3:] == (marks[3].cast_at, True)
    store.unmark([marks[3]])
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert votes_shown(store, "m")[ANN] == (ANN, 1, b"[3]", marks[3].cast_at, False)


def test_each_raters_vote_on_the_one_before_is_delivered(store):
    old = Message("not hex", context={"n": 1})
    store.stash("m", old, WEEK)
    raters = [ANYONE, ANN, BOB, b" 1 \0"]
    marks = [cast(store, raters=(rater,), lease=0).mark for rater in raters]
    delivered = cast(store, raters=(b"d" * 16,), lease=0).mark
    store.unmark([delivered])
    replace(store, new(owner=ANYONE))
    taken = take(store, len(raters))
    assert sorted(each.mark for each in taken) == sorted(marks)
    assert all(each[1:] == (old, 1, b'["good"]') for each in taken)


def test_a_mark_that_is_taken_off_late_is_not_that_of_a_vote_on_the_new_one(store):
    store.stash("m", OLD, WEEK)
    old = cast(store, raters=(ANN,), lease=0).mark
    replace(store, new())
    newer = cast(store, raters=(ANN,), lease=0).mark
    store.unmark([old])
    store.unmark([old])
    assert [each.mark for each in take(store, 1)] == [newer]


def test_a_vote_that_was_not_delivered_is_kept_as_long_as_it_would_have_been(store):
    store.stash("m", OLD, WEEK)
    mark = cast(store, raters=(ANN,), lease=0).mark
    replace(store, new(), ttl=timedelta(milliseconds=200))
    wait_until(lambda: store.read(["m"], [ANN]) == [None], "expired")
    assert take(store, 1) == [(mark, OLD, 1, b'["good"]')]


@pytest.mark.parametrize("delivered", ["before", "after"])
def test_of_what_was_replaced_nothing_is_kept_that_is_delivered(store, delivered):
    store.stash("m", Message(TRACE_ID, content="text"), WEEK)
    marks = [cast(store, raters=(rater,)).mark for rater in (ANN, BOB)]
    if delivered == "before":
        store.unmark(marks)
    replace(store, new(owner=ANYONE))
    for mark in marks:
        store.unmark([mark])
    if isinstance(store, RedisStore):
        assert store._client.hkeys("m") == [b"m", b"f"]
    else:
        with store._connected() as execute:
            assert execute("SELECT count(*) FROM messages").fetchone() == (1,)
            assert execute("SELECT count(*) FROM votes").fetchone() == (0,)


# Votes on one and the next are told apart by when they were cast


@pytest.mark.usefixtures("stopped_clock")
def test_a_vote_is_later_than_those_on_the_one_before_in_a_file_if_the_clock_stands_still(tmp_path):
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    store.stash("m", Message(TRACE_ID), WEEK)
    times = []
    for number in range(4):
        times.append(cast(store, b"[%d]" % number, raters=(ANN,)).cast_at)
        for _ in range(number):
            assert replace(store, new(owner=ANYONE))
    assert times == [times[0] + number for number in range(4)]


def test_a_vote_is_later_than_those_on_the_one_before_in_redis_if_the_clock_went_back(redis_server):
    url = redis_server.fresh_url()
    store = store_at(url)
    store.stash("m", OLD, WEEK)
    ahead = cast(store, raters=(ANN,)).cast_at + 10_000_000
    with redis_server.client(url) as client:
        client.hset("m", b"v" + ANN, pack_time(ahead) + b"1 [1]")
    times = [ahead]
    for number in range(3):
        replace(store, new())
        replace(store, new())
        times.append(cast(store, b"[%d]" % number, raters=(ANN,)).cast_at)
    assert times == [ahead + number for number in range(4)]


def test_a_vote_on_a_file_whose_message_is_replaced_meanwhile_is_on_the_new_one(
    tmp_path, meanwhile
):
    store, other = (SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2) for _ in range(2))
    store.stash("m", OLD, WEEK)
    message = new()
    meanwhile(lambda: replace(other, message))
    assert cast(store, raters=(ANN,))[:3] == ("accepted", 1, message)
    assert store.backlog(OUTBOX).votes == 1


def test_in_a_cluster_a_vote_on_the_one_before_leads_to_newer_ones_that_are_in_no_outbox(
    redis_cluster, monkeypatch
):
    store = store_at(redis_cluster.fresh_url())
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, b"[1]", raters=(ANN,), lease=0)
    cast(store, b"[1]", raters=(BOB,), lease=0)
    for vote in b"[2]", b"[3]":
        with monkeypatch.context() as patch:
            patch.setattr(store, "_add_to_outbox", lambda *_: 1 / 0)  # as if the process ended here
            with pytest.raises(ZeroDivisionError):
                cast(store, vote, raters=(ANN,), lease=0)
        replace(store, new(owner=ANYONE))
    found = {each.vote: each.mark.voter for each in take(store, 3)}
    assert found == {b"[1]": BOB, b"[2]": ANN, b"[3]": ANN}


# While votes come


def vote_all_along(url, name, end, results):
    """One of the processes that vote: what became of each vote."""
    store = store_at(url, timeout=5)
    taken = []
    for number in itertools.count():
        if end.is_set():
            break
        vote = b'["%d",%d]' % (name, number)
        outcome = store.vote("m", [ANN], VoteRequest(vote, 1_000_000, OUTBOX, 60))
        taken.append(
            (outcome.status, outcome.message.trace_id, outcome.revision, vote, outcome.mark)
        )
    results.put(taken)


@pytest.mark.parametrize("kind", ["sqlite", "redis", "cluster"])
def test_each_vote_that_comes_meanwhile_is_on_one_message_alone(new_store_url, kind):
    url = new_store_url(kind)
    store = store_at(url, timeout=5)
    messages = [new(number) for number in range(12)]
    replace(store, messages[0])
    context = multiprocessing.get_context("fork")
    end, results = context.Event(), context.Queue()
    voters = [
        context.Process(target=vote_all_along, args=(url, name, end, results)) for name in range(3)
    ]
    for voter in voters:
        voter.start()
    try:
        for message in messages[1:]:
            wait_until(lambda: store.read(["m"], [ANN])[0].revision >= 2, "votes on the last one")
            assert replace(store, message)
        wait_until(lambda: store.read(["m"], [ANN])[0].revision >= 2, "votes on the last one")
    finally:
        end.set()
        votes = [vote for _ in voters for vote in results.get(timeout=60)]
        for voter in voters:
            voter.join()
    assert {status for status, *_ in votes} == {"accepted"}
    last = {}
    times = []
    for message in messages:
        of_this = sorted(vote[2:] for vote in votes if vote[1] == message.trace_id)
        assert [revision for revision, *_ in of_this] == list(range(1, len(of_this) + 1))
        times += [mark.cast_at for *_, mark in of_this]
        last[message.trace_id] = of_this[-1]
    assert times == sorted(set(times))
    [standing] = store.read(["m"], [ANN])
    assert standing.message == messages[-1]
    assert (standing.revision, standing.vote) == last[messages[-1].trace_id][:2]
    marks = [mark for *_, mark in last.values()]
    taken = {
        each.message.trace_id: (each.revision, each.vote, each.mark)
        for each in store.take(OUTBOX, 0, 640_000, release=[mark for *_, mark in votes])
    }
    assert taken == last, "the last vote on each message is delivered, as one of that message"
    store.unmark(marks)
    assert store.backlog(OUTBOX) == Backlog(0, None)
