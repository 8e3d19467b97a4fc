"""The contract of every store for votes that are not yet delivered: marks, leases, a backlog."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
import redis
from contract import ANN, BOB, OUTBOX, TRACE_ID, WEEK, cast, is_cluster, store_at, votes_shown
from processes import wait_until
from redis.crc import key_slot
from redis_cluster import RedisCluster

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import ANYONE, RETRACTED, Backlog, Message, VoteRequest
from feedback_blueprint.stores import RedisStore, SQLiteStore
from feedback_blueprint.stores.redis.cluster import node_name, outbox_key_beside, outbox_keys
from feedback_blueprint.stores.redis.layout import pack_time
from feedback_blueprint.stores.sqlite.layout import MARGIN, RENEW, SCHEMA, TAKE, TAKEN, UNMARK

SHORT = timedelta(milliseconds=200)


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
    assert take(store, renew=[mark]) == []
    assert [each.mark for each in wait_until(lambda: take(store), "the other's")] == [other]


def test_many_leases_and_marks_are_renewed_ended_and_taken_off_at_once(store, monkeypatch):
    for size in "sqlite.layout.MARKS_PER_STATEMENT", "redis.store.MESSAGES_PER_SCRIPT":
        monkeypatch.setattr(f"feedback_blueprint.stores.{size}", 2)
    marks = []
    for number in range(5):
        store.stash(f"m{number}", Message(TRACE_ID), WEEK)
        voter, lease = [(ANN, 0), (BOB, 60)][number % 2]
        marks.append(store.vote(f"m{number}", [voter], VoteRequest(b"[1]", 20, OUTBOX, lease)).mark)
    room = 64 * len(marks)  # they may be in one of a cluster's outboxes
    assert take(store, room, renew=marks) == []
    taken = take(store, room, release=marks)
    assert sorted(each.mark for each in taken) == sorted(marks)
    store.unmark(marks)
    assert store.backlog(OUTBOX) == Backlog(0, None)
    for mark in marks:
        assert not votes_shown(store, mark.key)[mark.voter].is_undelivered


def test_what_is_no_longer_marked_is_not_renewed(store, message):
    mark = cast(store).mark
    store.unmark([mark])
    assert take(store, renew=[mark]) == []
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert take(store, release=[mark]) == []
    assert store.backlog(OUTBOX) == Backlog(0, None)


def test_what_is_let_go_is_anybodys_at_once(store, message):
    mark = cast(store).mark
    cast(store, raters=(ANN,))
    assert [each.mark for each in take(store, release=[mark])] == [mark]


def test_no_more_is_taken_than_there_is_room_for(store):
    for number in range(5):
        store.stash(f"m{number}", Message(TRACE_ID), WEEK)
        store.vote(f"m{number}", [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 0))
    assert take(store, 0) == []
    taken = []
    while some := take(store, 2):
        taken.append([each.mark.key for each in some])
    assert sorted(itertools.chain(*taken)) == [f"m{number}" for number in range(5)]
    if not is_cluster(store):
        assert list(map(len, taken)) == [2, 2, 1]


def test_what_has_been_due_for_the_longest_is_taken_first(store, message):
    first = cast(store, raters=(ANN,), lease=0).mark
    second = cast(store, raters=(BOB,), lease=0).mark
    assert [each.mark for each in take(store, 1)] == [first]
    assert [each.mark for each in take(store, 1)] == [second]


def test_a_vote_whose_mark_was_taken_off_is_delivered(store, message):
    mark = cast(store, lease=0).mark
    store.unmark([mark])
    assert take(store) == []
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert not votes_shown(store, "m")[ANYONE].is_undelivered
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
    if not isinstance(store, RedisStore) or not store._is_cluster:
        assert store.backlog(OUTBOX).votes == 1
    assert take(store) == []
    assert store.backlog(OUTBOX).votes == 1


def test_a_retraction_is_marked_too(store, message):
    store.unmark([cast(store).mark])
    cast(store, RETRACTED, lease=0)
    [taken] = wait_until(lambda: take(store), "the vote to be due, a millisecond after the older")
    assert (taken.revision, taken.vote) == (2, RETRACTED)


def test_what_leaves_nothing_to_deliver_leaves_no_mark(store, message):
    assert cast(store, RETRACTED, lease=0).status == "unchanged"
    assert store.vote("x", [ANYONE], VoteRequest(b"[1]", 20, OUTBOX)).status == "unknown"
    assert cast(store, lease=0, outbox=None).status == "accepted"
    assert cast(store, b"[2]", limit=1, lease=0).status == "too-many"
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert take(store) == []


def test_a_vote_without_a_mark_takes_the_older_ones_place(store, message):
    cast(store, b"[1]", lease=0)
    outcome = cast(store, b"[2]", outbox=None)
    assert outcome == ("accepted", 2, message, outcome.cast_at, None, ANYONE)
    assert not votes_shown(store, "m")[ANYONE].is_undelivered
    assert take(store) == []


def test_a_mark_is_that_of_the_owners_hash(store):
    """The first of the caller's may be another: the app's key has been changed."""
    store.stash("m", Message(TRACE_ID, ANN), WEEK)
    mark = cast(store, raters=(BOB, ANN), lease=0).mark
    assert mark.voter == ANN
    assert [each.mark for each in take(store)] == [mark]


def test_a_mark_may_be_of_any_message_and_any_voter(store):
    key, voter = "an 1 2 ünusual {id}: ", b" 1 2 \0\n\xff\r\t: {x} "
    store.stash(key, Message(TRACE_ID), WEEK)
    mark = store.vote(key, [voter], VoteRequest(b"[1]", 20, OUTBOX, 0)).mark
    assert mark[1:3] == (key, voter)
    assert [each.mark for each in take(store)] == [mark]
    store.unmark([mark])
    assert store.backlog(OUTBOX).votes == 0


def test_the_same_vote_again_keeps_its_mark(store, message):
    mark = cast(store, lease=0).mark
    assert cast(store, lease=60).status == "unchanged"
    assert [each.mark for each in take(store)] == [mark]


def test_each_application_takes_its_own_votes(store, message):
    cast(store, lease=0, outbox="!outbox:other")
    assert take(store) == []
    assert store.backlog(OUTBOX).votes == 0
    assert store.backlog("!outbox:other").votes == 1
    assert len(store.take("!outbox:other", 60, 10)) == 1, "it is still anybody's"


def test_of_an_expired_message_only_the_mark_is_left(store):
    store.stash("m", Message(TRACE_ID), SHORT)
    mark = cast(store, lease=0.4, ttl=SHORT).mark
    [taken] = wait_until(lambda: take(store), "the end of the lease")
    assert (taken.mark, taken.message) == (mark, None)
    store.unmark([mark])
    assert store.backlog(OUTBOX) == Backlog(0, None)


def test_a_new_message_under_an_expired_id_is_not_delivered_with_the_old_vote(store):
    store.stash("m", Message(TRACE_ID), SHORT)
    mark = cast(store, lease=0.4, ttl=SHORT).mark
    wait_until(lambda: store.read(["m"], [ANYONE]) == [None], "expired")
    store.stash("m", Message("f" * 32), WEEK)
    taken = []
    wait_until(
        lambda: taken.extend(take(store)) or taken or store.backlog(OUTBOX).votes == 0,
        "the end of the lease",
    )
    assert [each.message for each in taken] in ([], [None])
    store.unmark([mark])
    assert store.backlog(OUTBOX).votes == 0
    assert store.read(["m"], [ANYONE])[0].message.trace_id == "f" * 32


def test_the_backlog_is_counted_and_its_oldest_known(store, message):
    assert store.backlog(OUTBOX) == Backlog(0, None)
    first = cast(store, raters=(ANN,), lease=60)
    wait_until(lambda: time.time() * 1000 > first.cast_at + 1, "a later millisecond")
    cast(store, raters=(BOB,), lease=0)
    assert store.backlog(OUTBOX) == Backlog(2, first.cast_at)
    assert votes_shown(store, "m")[ANN][3:] == (first.cast_at, True)


def test_of_many_that_take_at_once_each_vote_goes_to_one(store):
    keys = [f"m{number}" for number in range(60)]
    for key in keys:
        store.stash(key, Message(TRACE_ID), WEEK)
        store.vote(key, [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 0))
    with ThreadPoolExecutor(8) as pool:
        taken = [
            each.mark.key for some in pool.map(lambda _: take(store, 64), range(8)) for each in some
        ]
    assert Counter(taken) == Counter(keys)


def test_a_vote_on_a_message_of_a_newer_version_is_left_to_that(redis_server):
    """An older process of the app would call it expired, and take its mark off for good."""
    url = redis_server.fresh_url()
    store = store_at(url)
    for key in "mn":
        store.stash(key, Message(TRACE_ID), WEEK)
    theirs = cast(store, lease=0).mark
    ours = store.vote("n", [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 0)).mark
    with redis_server.client(url) as client:
        head = client.hget("m", "m")
        client.hset("m", "m", b"\7" * 17)
        assert [each.mark for each in store.take(OUTBOX, 0, 10)] == [ours]
        store.unmark([ours])
        with pytest.raises(StoreUnavailable, match="written by a newer version"):
            store.take(OUTBOX, 0, 10)
        assert store.backlog(OUTBOX).votes == 1
        client.hset("m", "m", head)
    assert [each.mark for each in store.take(OUTBOX, 0, 10)] == [theirs]


def test_a_file_keeps_an_expired_message_until_it_is_known_that_its_vote_was_not_delivered(
    tmp_path, ahead
):
    url = f"sqlite:///{tmp_path}/feedback.sqlite3"
    store = store_at(url)
    for key in "mx":
        store.stash(key, Message(TRACE_ID), SHORT)
    mark = cast(store, lease=0, ttl=SHORT).mark
    wait_until(lambda: store.read(["m", "x"], [ANYONE]) == [None, None], "expired")
    ahead(MARGIN)
    store.stash("n", Message(TRACE_ID), WEEK)
    assert "2 messages" in store.check(full=True)[0].seen, "nobody rated the other"
    assert take(store) == [(mark, None, 0, RETRACTED)]
    store.unmark([mark])
    store.stash("o", Message(TRACE_ID), WEEK)
    assert "2 messages" in store.check(full=True)[0].seen
    assert all(store.read(["n", "o"], [ANYONE]))


def test_a_vote_on_a_message_without_end_leaves_it_so(redis_server):
    url = redis_server.fresh_url()
    store = store_at(url)
    store.stash("m", Message(TRACE_ID), WEEK)
    with redis_server.client(url) as client:
        client.persist("m")
        cast(store)
        assert client.pttl("m") == -1


@pytest.fixture
def file(tmp_path):
    """A store in a file, with a message that anyone may rate."""
    store = SQLiteStore(tmp_path / "f.db", timeout=2)
    store.stash("m", Message(TRACE_ID), WEEK)
    return store


@pytest.fixture
def same_file(tmp_path):
    """Another process's store in that file."""
    return SQLiteStore(tmp_path / "f.db", timeout=2)


@pytest.mark.usefixtures("stopped_clock")
def test_of_two_that_take_from_a_file_at_the_same_moment_each_reads_its_own(file):
    first, second = (cast(file, raters=(each,), lease=0).mark for each in (ANN, BOB))
    assert [each.mark for each in take(file, 1)] == [first]
    assert [each.mark for each in take(file, 1)] == [second]


@pytest.mark.usefixtures("stopped_clock")
def test_a_newer_vote_has_a_later_mark_in_a_file_if_the_clock_stands_still(file):
    older, newer = cast(file, b"[1]").mark, cast(file, b"[2]").mark
    assert newer.cast_at == older.cast_at + 1


def test_a_newer_vote_has_a_later_mark_in_redis_if_the_clock_went_back(redis_server):
    url = redis_server.fresh_url()
    store = store_at(url)
    store.stash("m", Message(TRACE_ID), WEEK)
    older = cast(store, b"[1]").mark
    with redis_server.client(url) as client:
        for ahead in 10_000_000, 10_000_001:
            client.hset("m", b"v" + ANYONE, pack_time(older.cast_at + ahead) + b"1 [1]")
            assert cast(store, b"[%d]" % ahead).cast_at == older.cast_at + ahead + 1


def test_a_vote_on_a_file_that_another_overtakes_comes_after_it(file, same_file, meanwhile):
    meanwhile(lambda: cast(same_file, b"[2]"))
    assert cast(file, b"[1]")[:2] == ("accepted", 2)
    meanwhile(lambda: cast(same_file, b"[2]"))
    assert cast(file, b"[2]")[:2] == ("unchanged", 3)


def test_a_message_that_goes_from_a_file_while_its_vote_comes_is_unknown(
    file, same_file, meanwhile
):
    meanwhile(lambda: same_file.remove("m"))
    assert cast(file).status == "unknown"


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
    store = store_at(redis_cluster.fresh_url())
    store.stash("m", Message(TRACE_ID), WEEK)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_add_to_outbox", lambda *_: 1 / 0)  # as if the process ended here
        with pytest.raises(ZeroDivisionError):
            cast(store, lease=0)
    assert take(store) == []
    assert cast(store, lease=0).status == "unchanged"
    assert len(take(store)) == 1


def test_in_a_cluster_an_older_vote_leads_to_a_newer_one_that_is_in_no_outbox(
    redis_cluster: RedisCluster, monkeypatch
):
    store = store_at(redis_cluster.fresh_url())
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, b"[1]", lease=0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_add_to_outbox", lambda *_: 1 / 0)  # as if the process ended here
        with pytest.raises(ZeroDivisionError):
            cast(store, b"[2]", lease=0)
    [taken] = wait_until(lambda: take(store, lease=0), "the newer vote")
    assert (taken.revision, taken.vote) == (2, b"[2]")
    assert store.backlog(OUTBOX).votes == 1


def test_in_a_cluster_each_outbox_gives_its_share(redis_cluster: RedisCluster):
    """The votes on one message are in one of them."""
    store = store_at(redis_cluster.fresh_url())
    store.stash("m", Message(TRACE_ID), WEEK)
    for rater in ANN, BOB, ANYONE:
        cast(store, raters=(rater,), lease=0)
    assert [len(take(store, room)) for room in (0, 2, 65)] == [0, 1, 2]


def test_a_node_that_fails_keeps_back_no_mark_of_the_others(
    redis_cluster: RedisCluster, monkeypatch
):
    store = store_at(redis_cluster.fresh_url())
    marks = []
    for key in "abcdef":
        store.stash(key, Message(TRACE_ID), WEEK)
        marks.append(store.vote(key, [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 60)).mark)
    nodes = [redis_cluster.node_of(mark.outbox) for mark in marks]
    unmark = store._unmark

    def fail_or_unmark(some):
        if redis_cluster.node_of(some[0].outbox) is nodes[0]:
            raise redis.ConnectionError
        unmark(some)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_unmark", fail_or_unmark)
        with pytest.raises(StoreUnavailable):
            store.unmark(marks)
    assert 0 < store.backlog(OUTBOX).votes == nodes.count(nodes[0]) < len(marks)


def test_what_a_server_refuses_to_tell_is_not_taken_for_expired(redis_server):
    url = redis_server.fresh_url()
    store, blind = (store_at(each) for each in (url, url.replace("//", "//blind:secret@")))
    store.stash("m", Message(TRACE_ID), WEEK)
    cast(store, lease=0)
    rights = "reset", "on", ">secret", "~*", "+@all", "-hmget"
    with redis_server.client(url) as client:
        client.execute_command("ACL", "SETUSER", "blind", *rights)
        with pytest.raises(StoreUnavailable, match="hmget"):
            take(blind)
        client.execute_command("ACL", "DELUSER", "blind")
    assert store.backlog(OUTBOX).votes == 1


def a_cluster_with(node_of_slot):
    """What knows where the slots of a cluster are."""
    return SimpleNamespace(
        keyslot=lambda key: key_slot(key.encode()),
        get_node_from_key=lambda key: SimpleNamespace(name=node_of_slot(key_slot(key.encode()))),
    )


def test_an_outbox_is_on_the_node_of_a_message_however_the_slots_are_spread():
    alone = key_slot(b"alone")
    client = a_cluster_with(lambda slot: "small" if slot == alone else str(slot % 256 < 128))
    names = outbox_keys(OUTBOX)
    for number in range(200):
        name = outbox_key_beside(client, OUTBOX, f"m{number}")
        assert name in names
        assert node_name(client, name) == node_name(client, f"m{number}")
    assert outbox_key_beside(client, OUTBOX, "alone") == names[alone // 256], "its node has none"


def test_of_64_nodes_each_has_an_outbox():
    client = a_cluster_with(lambda slot: str(slot // 256))
    names = outbox_keys(OUTBOX)
    assert len({node_name(client, name) for name in names}) == len(names) == 64
    assert outbox_key_beside(client, OUTBOX, "m") == names[key_slot(b"m") // 256]


def test_in_a_cluster_votes_are_spread_like_their_messages(redis_cluster: RedisCluster):
    store = store_at(redis_cluster.fresh_url())
    nodes = Counter()
    for number in range(20):
        key = f"m{number}"
        store.stash(key, Message(TRACE_ID), WEEK)
        outbox = store.vote(key, [ANYONE], VoteRequest(b"[1]", 20, OUTBOX, 60)).mark.outbox
        assert redis_cluster.node_of(outbox) is redis_cluster.node_of(key)
        nodes[redis_cluster.node_of(outbox).port] += 1
    assert len(nodes) == 3
