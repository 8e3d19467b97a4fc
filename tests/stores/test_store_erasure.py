"""The contract of every store for a person who asks what is kept of them, or to be forgotten."""

from __future__ import annotations

import os
import sqlite3
import time
import tracemalloc
from datetime import timedelta

import pytest
from contract import ANN, BOB, OUTBOX, TRACE_ID, WEEK, seconds_left, store_at, votes_shown
from processes import wait_until

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import (
    ANYONE,
    RETRACTED,
    Backlog,
    CastVote,
    Message,
    StoredMessage,
    StoredVote,
    VoteRequest,
)
from feedback_blueprint.stores import RedisStore, SQLiteStore
from feedback_blueprint.stores.redis.layout import pack_message
from feedback_blueprint.stores.sqlite import client as sqlite_client
from feedback_blueprint.stores.sqlite import store as sqlite_store

EVE = b"e" * 16
OURS = Message(TRACE_ID, ANN, {"model": "m"}, "text")
ANYONES = Message("f" * 32, context={"n": 1}, content="for anyone")


def vote(store, key, rater, vote=b'["good"]', *, ttl=timedelta(days=30), outbox=OUTBOX):
    return store.vote(key, [rater], VoteRequest(vote, 20, outbox, 0, ttl))


def new(owner=ANN, **fields):
    return Message(os.urandom(16).hex(), owner, nonce=os.urandom(8), **fields)


def kept(store, *raters, prefix="", is_ours=lambda key: "!" not in key):
    batches = list(store.export(prefix, is_ours, raters or (ANN,)))
    return sorted(each for _, found in batches for each in found), sum(n for n, _ in batches)


def forget(store, *keys, raters=(ANN,)):
    return [each for found in store.forget(keys, raters, "!outbox:") for each in found]


def without_times(found):
    return [each._replace(expires_at=0.0, rateable_until=0.0) for each in found]


def test_what_is_kept_of_a_rater_is_votes_and_messages_that_are_theirs(store):
    store.stash("a", OURS, WEEK)
    store.stash("b", OURS._replace(content=None), WEEK)
    store.stash("c", ANYONES, WEEK)
    store.stash("d", ANYONES, WEEK)
    store.stash("e", OURS._replace(owner=BOB), WEEK)
    first = vote(store, "b", ANN).cast_at
    second = vote(store, "c", ANN, b"[1]").cast_at
    vote(store, "c", BOB)
    vote(store, "d", BOB)
    vote(store, "e", BOB)
    store.unmark([vote(store, "c", ANN, RETRACTED, outbox=OUTBOX).mark])
    found, looked_at = kept(store)
    assert looked_at == 5
    [third] = found[2].votes
    assert third.cast_at > second
    assert without_times(found) == [
        StoredMessage("a", OURS, 0, 0, []),
        StoredMessage(
            "b", OURS._replace(content=None), 0, 0, [CastVote(ANN, 1, b'["good"]', first, True)]
        ),
        StoredMessage("c", ANYONES._replace(content=None), 0, 0, [third]),
    ]
    assert third == (ANN, 2, RETRACTED, third.cast_at, False)
    lives = [(each.expires_at - time.time()) / 86_400 for each in found]
    assert lives == pytest.approx([7, 30, 30], abs=0.01)
    assert without_times(kept(store, EVE, ANN)[0]) == without_times(found), "under each hash"
    assert kept(store, EVE) == ([], 5)


def test_what_is_forgotten_is_all_that_is_kept_of_a_rater_and_nothing_else(store):
    store.stash("a", OURS, WEEK)
    store.stash("b", OURS, WEEK)
    store.stash("c", ANYONES, WEEK)
    vote(store, "b", ANN)
    for rater in ANN, BOB, ANYONE:
        vote(store, "c", rater)
    found, _ = kept(store, EVE, ANN)
    removed = forget(store, "a", "b", "c", "d", raters=[EVE, ANN])
    assert without_times(sorted(removed)) == without_times(found)
    assert kept(store, EVE, ANN) == ([], 1)
    assert store.read(["a", "b"], [ANN]) == [None, None]
    assert store.read(["c"], [ANN]) == [StoredVote(ANYONES._replace(content=None))]
    assert store.show("c").message == ANYONES
    assert votes_shown(store, "c").keys() == {BOB, ANYONE}
    assert store.backlog(OUTBOX).votes == 2
    assert {each.mark.voter for each in store.take(OUTBOX, 60, 6400)} == {BOB, ANYONE}
    assert forget(store, "a", "b", "c") == []


def test_a_message_is_forgotten_with_all_votes_on_it(store):
    store.stash("a", ANYONES, WEEK)
    store.stash("b", ANYONES, WEEK)
    raters = [ANN, BOB, ANYONE]
    times = {rater: vote(store, "a", rater).cast_at for rater in raters}
    [removed] = forget(store, "a", raters=None)
    assert removed.message == ANYONES
    votes = {each.voter: each for each in removed.votes}
    assert votes == {r: (r, 1, b'["good"]', times[r], True) for r in raters}
    assert forget(store, "a", "nowhere", raters=None) == []
    assert store.show("a") is None
    assert store.show("b").message == ANYONES
    assert store.backlog(OUTBOX) == Backlog(0, None)
    assert store.take(OUTBOX, 60, 6400) == []
    assert store.stash("a", OURS, WEEK), "its key is free"


@pytest.mark.parametrize("owner", [ANN, ANYONE])
def test_a_vote_on_a_message_that_was_replaced_is_forgotten_too(store, owner):
    """It is kept until it is delivered, apart from the message that took the other's place."""
    messages = [new(owner, context={"n": n}) for n in range(3)]
    times = []
    for number, message in enumerate(messages):
        store.stash("m", message, WEEK, may_replace=[owner])
        if number < 2:
            times.append(vote(store, "m", ANN, b"[%d]" % number).cast_at)
            if owner == ANYONE:
                vote(store, "m", BOB)
    on_replaced = [
        StoredMessage(
            "m", messages[number], 0, 0, [CastVote(ANN, 1, b"[%d]" % number, times[number], True)]
        )
        for number in range(2)
    ]
    standing = [StoredMessage("m", messages[2], 0, 0, [])] if owner == ANN else []
    found, looked_at = kept(store)
    assert looked_at == 1
    assert without_times(found) == sorted(standing + on_replaced)
    removed = forget(store, "m")
    assert without_times(sorted(removed)) == sorted(standing + on_replaced)
    assert kept(store)[0] == []
    marks = [each.mark.voter for each in store.take(OUTBOX, 60, 6400)]
    if owner == ANN:
        assert store.show("m") is None
        assert marks == []
    else:
        assert store.show("m").message == messages[2]
        assert marks == [BOB, BOB]
        assert len(forget(store, "m", raters=None)) == 3
        assert store.take(OUTBOX, 0, 6400) == []
        assert store.show("m") is None
    if isinstance(store, SQLiteStore) and owner == ANN:
        with store._connected() as execute:
            assert execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_nothing_is_left_of_a_replaced_message_whose_only_vote_is_forgotten(store):
    store.stash("m", ANYONES, WEEK)
    vote(store, "m", ANN)
    message = new(ANYONE)
    store.stash("m", message, WEEK, may_replace=[ANYONE])
    assert len(forget(store, "m")) == 1
    if isinstance(store, RedisStore):
        assert store._client.hkeys("m") == [b"m", b"f"]
    else:
        with store._connected() as execute:
            assert execute("SELECT count(*) FROM messages").fetchone() == (1,)


def test_a_message_that_was_kept_for_a_forgotten_vote_goes_in_its_own_time(store):
    for key, others in ("alone", []), ("rated", [BOB]):
        store.stash(key, ANYONES, WEEK)
        for rater in [ANN, *others]:
            vote(store, key, rater)
    store.stash("short", ANYONES, timedelta(milliseconds=300))
    vote(store, "short", ANN)
    forget(store, "alone", "rated")
    days = {key: seconds_left(store, key)[1] / 86_400 for key in ("alone", "rated")}
    assert days == pytest.approx({"alone": 7, "rated": 30}, abs=0.01)
    wait_until(lambda: store.read(["short"], [BOB]) == [None], "expired")
    assert store.show("short") is not None
    forget(store, "short")
    assert store.show("short") is None


def test_only_keys_that_begin_so_and_are_said_to_be_ours_are_looked_at(store):
    for key in "fb:a", "fb:b:c", "other:a", "f", "g":
        store.stash(key, OURS, WEEK)
    found, looked_at = kept(store, prefix="fb:", is_ours=lambda key: key.count(":") == 1)
    assert ([each.key for each in found], looked_at) == (["fb:a"], 1)
    store.stash("f*[b\\]?:a", OURS, WEEK)
    found, looked_at = kept(store, prefix="f*[b\\]?:")
    assert ([each.key for each in found], looked_at) == (["f*[b\\]?:a"], 1)
    assert kept(store, prefix="z") == ([], 0)


def test_a_vote_that_comes_after_is_the_first(store):
    store.stash("m", ANYONES, WEEK)
    before = vote(store, "m", ANN, b"[1]")
    forget(store, "m")
    wait_until(lambda: time.time() * 1000 > before.cast_at + 1, "the next millisecond")
    after = vote(store, "m", ANN, b"[2]")
    assert after.revision == 1
    store.unmark([before.mark])  # by a process whose agent still held its event
    assert store.take(OUTBOX, 0, 6400, renew=[before.mark], release=[before.mark])[0].vote == b"[2]"
    assert store.read(["m"], [ANN])[0].vote == b"[2]"


def fill(store, url, number):
    """Keep so many messages, of which each thousandth is Ann's."""
    head = [pack_message(Message(TRACE_ID, owner))[0] for owner in (BOB, ANN)]
    if isinstance(store, RedisStore):
        pipeline = store._client.pipeline(transaction=False)
        for n in range(number):
            pipeline.execute_command("SET", f"fb:{n}", head[n % 1000 == 0], "EX", 600)
        pipeline.execute()
        return
    store.stash("fb:0", OURS, WEEK)
    rows = (
        (f"fb:{n}", 0, time.time() + 600, None, TRACE_ID, (BOB, ANN)[n % 1000 == 0], None, None)
        for n in range(1, number)
    )
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.executemany("INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,x'',0)", rows)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_however_many_messages_are_looked_at_in_little_memory(new_store_url, kind):
    url = new_store_url(kind)
    store = store_at(url, timeout=5)
    fill(store, url, 10_000)
    looked_at = number = 0
    tracemalloc.start()
    try:
        for batch, found in store.export("fb:", lambda _: True, [ANN]):
            assert batch <= 1000
            looked_at += batch
            number += len(found)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (looked_at, number) == (10_000, 10)
    assert most < 1_000_000


def test_a_key_that_a_scan_finds_twice_is_found_once(redis_server, monkeypatch):
    store = store_at(redis_server.fresh_url())
    store.stash("m", OURS, WEEK)
    monkeypatch.setattr(store, "_scan", lambda _: iter([["m", "m"], ["m"]]))
    found = [each for _, found in store.export("", lambda _: True, [ANN]) for each in found]
    assert [each.key for each in found] == ["m"]


def test_what_others_keep_in_redis_is_not_found_and_not_forgotten(redis_server):
    url = redis_server.fresh_url()
    store = store_at(url)
    with redis_server.client(url) as client:
        client.set("text", ANN * 4)
        client.set(b"\xff", "no text")
        client.hset("hash", b"v" + ANN, "1")
        client.sadd("set", ANN)
        assert kept(store)[0] == []
        assert forget(store, "text", "hash", "set") == []
        assert forget(store, "text", "hash", "set", raters=None) == []
        assert client.dbsize() == 4


@pytest.mark.parametrize("rated", [False, True])
def test_what_a_newer_version_keeps_in_redis_is_not_passed_over(redis_server, rated):
    """Who asks to be forgotten must not be told that they are."""
    url = redis_server.fresh_url()
    store = store_at(url)
    with redis_server.client(url) as client:
        newer = b"\5" + b"." * 50
        client.hset("m", "m", newer) if rated else client.set("m", newer)
    with pytest.raises(StoreUnavailable, match="newer version"):
        kept(store)
    with pytest.raises(StoreUnavailable, match="newer version"):
        forget(store, "m")


# SQLite: what is removed is in no file


SECRET = b"what Ann regrets"


def files_of(path):
    return b"".join(each.read_bytes() for each in path.parent.iterdir())


def comments(store):
    """Keep votes with comments, changed and not, on pages that are split and joined meanwhile."""
    for n in range(300):
        store.stash(f"m{n}", OURS._replace(content=f"{SECRET.decode()} {n}" * (n % 9)), WEEK)
        for revision in range(1 + n % 3):
            comment = b'["bad",null,"%b %d"]' % (SECRET, revision) * (1 + n % 7)
            vote(store, f"m{n}", ANN, comment)


def test_what_is_forgotten_is_in_none_of_the_files(tmp_path):
    store = SQLiteStore(tmp_path / "f.db", timeout=2)
    other = SQLiteStore(tmp_path / "f.db", timeout=2)
    other.stash("other", ANYONES, WEEK)
    comments(store)
    assert files_of(tmp_path / "f.db").count(SECRET) > 300
    assert len(forget(other, *(f"m{n}" for n in range(300)))) == 300
    assert SECRET not in files_of(tmp_path / "f.db")
    assert store.read(["other"], [ANN]) != [None]


def test_forgetting_waits_for_who_reads_and_says_if_it_takes_too_long(tmp_path, monkeypatch):
    store = SQLiteStore(tmp_path / "f.db", timeout=2)
    comments(store)
    reader = sqlite3.connect(tmp_path / "f.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    monkeypatch.setattr(sqlite_store, "CHECKPOINT_SECONDS", 0.1)
    with pytest.raises(StoreUnavailable, match="can still be read in its WAL"):
        forget(store, *(f"m{n}" for n in range(300)))
    assert SECRET in files_of(tmp_path / "f.db")
    reader.close()
    assert forget(store, "m0") == []
    assert SECRET not in files_of(tmp_path / "f.db")


def test_the_wal_that_a_long_reader_let_grow_shrinks_again(tmp_path):
    path = tmp_path / "f.db"
    store = SQLiteStore(path, timeout=2)
    store.stash("m", OURS, WEEK)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    for n in range(600):
        store.stash(f"m{n}", ANYONES._replace(content="x" * 30_000), WEEK)
    wal = path.with_name("f.db-wal")
    assert wal.stat().st_size > 2 * sqlite_client.WAL_SIZE
    reader.close()
    for n in range(20):
        store.stash(f"n{n}", OURS, WEEK)
    assert wal.stat().st_size <= sqlite_client.WAL_SIZE
