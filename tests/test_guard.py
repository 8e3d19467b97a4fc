"""The guard: who finds out that a store is out, and that it is back."""

from __future__ import annotations

import contextlib
import gc
import logging
import weakref
from collections.abc import Callable
from datetime import timedelta

import pytest

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.logs import Complaints
from feedback_blueprint.stores import Ballot, Guard, Message


class Scripted:
    """A store that ends each call as it is told; `asked` counts the calls that reached it."""

    def __init__(self) -> None:
        self.error: StoreUnavailable | None = None
        self.asked = 0
        self.meanwhile: list[Callable[[], None]] = []

    def part_of(self, key: str) -> str:
        return key[0].strip()

    def stash(self, *_: object, **__: object) -> bool:
        self.asked += 1
        while self.meanwhile:
            self.meanwhile.pop()()
        if self.error:
            raise self.error
        return True

    amend = vote = read = stash


@pytest.fixture
def store():
    return Scripted()


@pytest.fixture
def stash(store):
    guard = Guard(store, Complaints())

    def stash(key):
        try:
            return guard.stash(key, Message("a"), timedelta(1))
        except StoreUnavailable:
            return False

    return stash


@pytest.mark.parametrize(
    ("unreachable", "asked"), [(None, 3), ("crowded", 3), ("part", 2), ("whole", 1)]
)
def test_what_cannot_be_reached_is_asked_no_more(store, stash, unreachable, asked):
    store.error = StoreUnavailable("Gone.", unreachable=unreachable)
    assert [stash("a1"), stash("a2"), stash("b1")] == [False] * 3
    assert store.asked == asked


def test_waiting_for_ones_turn_says_nothing_about_an_outage(store, stash, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.stores.guard.time.monotonic", lambda: now[0])
    store.error = StoreUnavailable("Gone.", unreachable="part")
    stash("a")
    now[0] += 2
    store.error = StoreUnavailable("Full.", unreachable="crowded")
    stash("a")
    now[0] -= 1.5
    assert not stash("a")
    assert store.asked == 2, "it is still out"


def test_a_store_that_answers_again_is_asked_by_all(store, stash, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.stores.guard.time.monotonic", lambda: now[0])
    store.error = StoreUnavailable("Gone.", unreachable="whole")
    stash("a")
    store.error = None
    assert not stash("a")
    now[0] += 1
    assert [stash("a"), stash("b"), stash("a")] == [True] * 3


def test_a_store_that_takes_long_to_fail_is_left_alone_for_as_long(store, stash, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("feedback_blueprint.stores.guard.time.monotonic", lambda: now[0])

    def resolve():
        now[0] += 5

    store.error = StoreUnavailable("Gone.", unreachable="whole")
    for attempt in (1, 2):
        store.meanwhile.append(resolve)
        stash("a")
        now[0] += 4.5
        stash("a")
        assert store.asked == attempt
        now[0] += 0.5
    stash("a")
    assert store.asked == 3


CALLS = {
    "stash": lambda guard: guard.stash("a", Message("a"), timedelta(1)),
    "amend": lambda guard: guard.amend("a", Message("a")),
    "vote": lambda guard: guard.vote("a", [b""], Ballot(b"[1]", b"attempt.", 20)),
    "read": lambda guard: guard.read(["a"], [b""]),
}


@pytest.mark.parametrize(("call", "asked"), [("stash", 1), ("amend", 1), ("vote", 2), ("read", 2)])
def test_who_votes_or_reads_tries_a_store_that_is_out_at_once(store, call, asked):
    guard = Guard(store, Complaints())
    store.error = StoreUnavailable("Gone.", unreachable="whole")
    for each in (call, call):
        with pytest.raises(StoreUnavailable):
            CALLS[each](guard)
    assert store.asked == asked


@pytest.mark.parametrize("call", ["vote", "read"])
def test_of_those_who_try_at_once_only_the_first_asks(store, call):
    guard = Guard(store, Complaints())
    store.error = StoreUnavailable("Gone.", unreachable="whole")

    def ask():
        with pytest.raises(StoreUnavailable):
            CALLS[call](guard)

    ask()
    store.meanwhile.append(ask)
    ask()
    assert store.asked == 2


def test_who_waited_in_vain_for_a_turn_leaves_it_to_the_next(store):
    guard = Guard(store, Complaints())
    for unreachable in ("whole", "crowded", "crowded"):
        store.error = StoreUnavailable("Gone.", unreachable=unreachable)
        with pytest.raises(StoreUnavailable):
            CALLS["vote"](guard)
    assert store.asked == 3


def test_who_was_stopped_while_asking_leaves_the_turn_to_the_next(store):
    guard = Guard(store, Complaints())

    def stop():
        raise KeyboardInterrupt

    store.error = StoreUnavailable("Gone.", unreachable="whole")
    with pytest.raises(StoreUnavailable):
        CALLS["vote"](guard)
    store.meanwhile.append(stop)
    with pytest.raises(KeyboardInterrupt):
        CALLS["vote"](guard)
    store.error = None
    assert CALLS["vote"](guard)


def test_an_outage_keeps_nothing_of_the_request_that_found_it(store, caplog):
    caplog.set_level(logging.ERROR, "feedback_blueprint")  # a record would keep it, too

    class Result:
        pass

    def find():
        result = Result()
        found.append(weakref.ref(result))
        with contextlib.suppress(StoreUnavailable):
            CALLS["stash"](guard)

    guard, found = Guard(store, Complaints()), []
    store.error = StoreUnavailable("Gone.", unreachable="whole")
    find()
    store.error = None
    gc.collect()
    assert found[0]() is None


def test_a_store_that_has_no_parts_is_out_as_a_whole(store, stash):
    store.error = StoreUnavailable("Gone.", unreachable="part")
    assert [stash(" 1"), stash("b1")] == [False] * 2
    assert store.asked == 1
