"""The contract of every store for messages: SQLite and Redis, alone or several, keep it alike."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from contract import ANN, DAY, TRACE_ID, WEEK, cast, seconds_left, store_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import wait_until

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import ANYONE, Message, StoredVote
from feedback_blueprint.stores import SQLiteStore
from feedback_blueprint.stores.redis.layout import pack_message, unpack_message

#: The first bytes of a message with this trace ID and without a rater.
HEAD = b"\1" + bytes.fromhex("ab" * 16)

MESSAGES = [
    Message(TRACE_ID),
    Message(TRACE_ID, ANN),
    Message(TRACE_ID, ANN, {"model": "m", "n": 1, "x": 0.5, "on": True, "é": "日本"}, "text\n\0"),
    Message(TRACE_ID.upper(), ANYONE),
    Message("not hex at all", ANN),
    Message("ab", ANYONE, {}, ""),
    Message(TRACE_ID, nonce=b"\0 ~\xff1234"),
    Message("not hex", ANN, {"n": 1}, "text", b"12345678"),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_whole(store, message):
    assert store.stash("m", message, WEEK)
    assert store.show("m").message == message
    assert cast(store, raters=(ANN,)).message == message._replace(content=None)
    assert store.read(["m"], [ANN])[0].message == message._replace(content=None)
    assert store.show("m").message == message
    assert store.stash("m", message, WEEK), "a client sends it again if an answer was lost"


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (Message(TRACE_ID), 17),
        (Message(TRACE_ID, ANN), 33),
        (Message(TRACE_ID, nonce=b"12345678"), 25),
        (Message(TRACE_ID, ANN, nonce=b"12345678"), 41),
    ],
)
def test_an_unrated_message_in_redis_is_its_trace_id_its_owner_its_nonce_and_a_byte(message, size):
    assert len(b"".join(pack_message(message))) == size


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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


def test_a_message_that_expired_is_unknown_and_its_key_free(store):
    short = timedelta(milliseconds=300)
    store.stash("m", Message(TRACE_ID, ANN, {"n": 1}, "text"), short)
    cast(store, raters=(ANN,), ttl=short)
    wait_until(lambda: store.read(["m"], [ANN]) == [None], "expired")
    assert cast(store, raters=(ANN,)).status == "unknown"
    assert store.show("m") is None
    assert store.stash("m", Message("f" * 32), WEEK)
    assert store.read(["m"], [ANYONE])[0] == StoredVote(Message("f" * 32, ANYONE, {}))
    assert cast(store).revision == 1
    assert cast(store, b"[2]", raters=(ANN,)).revision == 1


def test_what_expired_a_day_ago_makes_room_in_a_file(tmp_path, ahead):
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    store.stash("m", Message(TRACE_ID), timedelta(minutes=5))
    ahead(DAY.total_seconds() + 301)
    store.stash("n", Message(TRACE_ID), WEEK)
    size = (tmp_path / "feedback.sqlite3").stat().st_size
    seen = store.check(full=True)[0]
    assert seen[:3] == ("SQLite file", True, f"1 messages, {size:,} bytes, ok")


@pytest.mark.parametrize("seconds", [600, DAY.total_seconds()])
def test_a_clock_that_is_ahead_for_a_while_removes_no_message(tmp_path, ahead, seconds):
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    for key in "mn":
        store.stash(key, Message(TRACE_ID), timedelta(minutes=5))
    assert cast(store, ttl=timedelta(minutes=5)).status == "accepted"
    ahead(seconds)
    assert store.read(["m", "n"], [ANYONE]) == [None, None]
    store.stash("o", Message(TRACE_ID), WEEK)
    ahead(0)
    assert [each.revision for each in store.read(["m", "n"], [ANYONE])] == [1, 0]


def test_a_message_can_be_amended_before_and_after_its_first_vote(store):
    for key in "mn":
        store.stash(key, Message(TRACE_ID), WEEK)
    amended = Message(TRACE_ID, context={"model": "m"})
    store.amend("m", amended)
    assert store.read(["m"], [ANN])[0].message == amended
    cast(store, raters=(ANN,))
    store.amend("m", amended._replace(content="text"))
    assert store.read(["m", "n"], [ANN]) == [
        StoredVote(amended, 1, b'["good"]', voter=ANN),
        StoredVote(Message(TRACE_ID)),
    ]
    assert store.show("m").message == amended._replace(content="text")
    store.amend("n", amended._replace(content="text"))
    assert store.show("n").message == amended._replace(content="text")
    assert WEEK.total_seconds() - 60 < seconds_left(store, "n")[1] <= WEEK.total_seconds()


def test_a_context_that_is_amended_together_with_the_text_is_the_new_one(store):
    store.stash("m", Message(TRACE_ID, context={"n": 1}), WEEK)
    amended = Message(TRACE_ID, context={"n": 2}, content="text")
    store.amend("m", amended)
    assert store.show("m").message == amended


@pytest.mark.parametrize("content", [None, "text"])
@pytest.mark.parametrize("rated", [False, True])
@pytest.mark.parametrize("trace_id", ["f" * 32, "not hex either"])
def test_a_message_that_is_another_is_not_amended(store, content, rated, trace_id):
    """As its ID was free again, or it has been replaced."""
    kept = Message(trace_id, ANYONE, {"n": 1}, content)
    store.stash("m", kept, WEEK)
    if rated:
        cast(store)
    for other in Message(TRACE_ID), Message("not hex"), Message(trace_id, nonce=b"12345678"):
        store.amend("m", other._replace(context={"n": 2}, content="other"))
    assert store.show("m").message == kept


@pytest.mark.parametrize("trace_id", [TRACE_ID, "not hex"])
def test_a_message_is_amended_if_it_is_the_same_one(store, trace_id):
    message = Message(trace_id, ANN, {"n": 1}, nonce=b"12345678")
    store.stash("m", message, WEEK, may_replace=[ANN])
    store.amend("m", message._replace(context={}))
    assert store.show("m").message == message._replace(context={})


def test_amending_an_unknown_message_makes_none(store):
    store.amend("m", Message(TRACE_ID))
    assert store.read(["m"], [ANYONE]) == [None]


#: Values that are nearly messages, and some that are not at all.
OTHERS = [
    *("", "hello", "x" * 50, b"\1" * 16, b"\1" * 18, b"\2" * 32, b"\2" * 34),
    *(b"\3" * 24, b"\3" * 26, b"\4" * 40, b"\4" * 42, b"\1" * 29, b"\1" * 30),
    *(b"\0" * 40, b"\7" * 16, b"\x08" * 40, b"\n" * 40, b"\x80" * 40),
    *(b"\1" * 17 + rest for rest in (b"{nope", b"5", b"null", b'{"context":5}', b'{"trace_id":5}')),
]


@pytest.mark.parametrize(
    "command",
    [
        *(["SET", "m", value] for value in OTHERS),
        *(["HSET", "m", "m", value] for value in OTHERS),
        *[["HSET", "m", "a", "b"], ["RPUSH", "m", "a"], ["SADD", "m", "a"], ["ZADD", "m", 1, "a"]],
    ],
)
def test_what_others_keep_in_redis_is_no_message_and_left_alone(redis_server, command):
    url = redis_server.fresh_url()
    store = store_at(url)
    with redis_server.client(url) as client:
        client.execute_command(*command)
        before = client.dump("m")
        for rater in ANYONE, ANN, b"\2" * 16:
            assert cast(store, raters=(rater,)).status == "unknown"
            assert store.read(["m"], [rater]) == [None]
        assert not store.stash("m", Message(TRACE_ID), WEEK)
        assert not store.stash("m", Message(TRACE_ID), WEEK, may_replace=[ANYONE])
        store.amend("m", Message(TRACE_ID))
        assert store.show("m") is None
        assert (client.dump("m"), client.pttl("m")) == (before, -1)


@pytest.mark.parametrize(
    "command", [["SET", "m", b"\7" * 17], ["SET", "m", b"\7" * 40], ["HSET", "m", "m", b"\7" * 17]]
)
def test_what_a_newer_version_wrote_is_left_to_it(redis_server, command):
    """While an app is deployed, or if it goes back: a vote on it is sent again, and not lost."""
    url = redis_server.fresh_url()
    store = store_at(url)
    store.stash("n", Message(TRACE_ID), WEEK)
    with redis_server.client(url) as client:
        client.execute_command(*command)
        before = client.dump("m")
        for act in (lambda: cast(store), lambda: store.show("m")):
            with pytest.raises(StoreUnavailable, match="newer version") as refused:
                act()
            assert "Install that version again" in refused.value.remedy
        assert store.read(["m", "n"], [ANYONE]) == [None, StoredVote(Message(TRACE_ID))]
        assert not store.stash("m", Message(TRACE_ID), WEEK)
        assert not store.stash("m", Message(TRACE_ID), WEEK, may_replace=[ANYONE])
        store.amend("m", Message(TRACE_ID))
        assert client.dump("m") == before


def test_a_message_that_is_removed_is_gone_with_its_votes(store):
    store.stash("m", Message(TRACE_ID, content="text"), WEEK)
    store.stash("n", Message(TRACE_ID), WEEK)
    cast(store, outbox=None)
    store.remove("m")
    store.remove("m")
    assert [each is None for each in store.read(["m", "n"], [ANYONE])] == [True, False]
    store.stash("m", Message(TRACE_ID), WEEK)
    assert cast(store).revision == 1


def test_reading_keeps_the_order_and_marks_the_unknown(store):
    store.stash("m", Message(TRACE_ID), WEEK)
    store.stash("n", Message("f" * 32), WEEK)
    cast(store)
    standings = store.read(["n", "x", "m", "n"], [ANYONE])
    assert [standing and standing.message.trace_id for standing in standings] == [
        "f" * 32,
        None,
        TRACE_ID,
        "f" * 32,
    ]
    assert [standing.vote for standing in standings if standing] == [None, b'["good"]', None]
    assert store.read([], [ANYONE]) == []


def test_the_first_threads_after_a_fork_share_a_connection(store):
    """As those of a worker do whose master has used the store."""
    store.stash("before", Message(TRACE_ID), WEEK)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sys.setswitchinterval(1e-6)
            with ThreadPoolExecutor(16) as pool:
                kept = pool.map(lambda n: store.stash(f"m{n}", Message(TRACE_ID), WEEK), range(64))
                status = int(not all(kept))
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert all(store.read([f"m{n}" for n in range(64)], [ANYONE]))


NOT_FACTS = [b"{", b"[]", b'{"trace_id": 1}', b'{"context": 1}', b'{"context": {"a": "\xff"}}']


@pytest.mark.parametrize("value", [b"", HEAD[:-1], *(HEAD + each for each in NOT_FACTS)])
def test_bytes_that_are_not_a_message_are_decoded_as_none(value):
    """The scripts of Redis let some of them through, such as text that is not UTF-8."""
    assert unpack_message(value) is None
    assert unpack_message(HEAD) == Message("ab" * 16)
