"""The circuit breaker: who finds out that a store is down, and that it is back."""

from __future__ import annotations

import contextlib
import gc
import logging
import weakref
from collections.abc import Callable
from datetime import timedelta

import pytest
from runbook import is_quoted

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.logs import ThrottledLog
from feedback_blueprint.model import Message, VoteRequest
from feedback_blueprint.stores import CircuitBreaker


class Scripted:
    """A store that ends each call as it is told; `asked` counts the calls that reached it."""

    def __init__(self) -> None:
        self.error: StoreUnavailable | None = None
        self.asked = 0
        self.meanwhile: list[Callable[[], None]] = []

    def node_of(self, key: str) -> str:
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


TIMEOUT = 0.25


@pytest.fixture
def took():
    """The seconds of each call, as the circuit breaker measured them."""
    return []


@pytest.fixture
def clock():
    """The seconds that the circuit breaker and its log go by; they pass if a test says so."""
    return [1000.0]


@pytest.fixture
def breaker(store, took, clock):
    def now():
        return clock[0]

    return CircuitBreaker(store, ThrottledLog(clock=now), TIMEOUT, took.append, clock=now)


@pytest.fixture
def stash(breaker):
    def stash(key):
        try:
            return breaker.stash(key, Message("a"), timedelta(1))
        except StoreUnavailable:
            return False

    return stash


@pytest.mark.parametrize(
    ("unreachable", "asked"), [(None, 3), ("turn", 3), ("node", 2), ("store", 1)]
)
def test_what_cannot_be_reached_is_not_asked_again(store, stash, unreachable, asked):
    store.error = StoreUnavailable("Gone.", unreachable=unreachable)
    assert [stash("a1"), stash("a2"), stash("b1")] == [False] * 3
    assert store.asked == asked


def test_waiting_for_ones_turn_says_nothing_about_an_outage(store, breaker, stash):
    store.error = StoreUnavailable("Gone.", unreachable="node")
    stash("a")
    store.error = StoreUnavailable("Full.", unreachable="turn")
    with pytest.raises(StoreUnavailable, match="Full"):
        CALLS["vote"](breaker)
    store.error = None
    assert not stash("a")
    assert store.asked == 2, "it is still out"


def test_a_store_that_answers_again_is_asked_by_all(store, stash, clock):
    store.error = StoreUnavailable("Gone.", unreachable="store")
    stash("a")
    store.error = None
    assert not stash("a")
    clock[0] += 1
    assert [stash("a"), stash("b"), stash("a")] == [True] * 3


def test_a_store_that_takes_long_to_fail_is_left_alone_for_as_long(store, stash, clock):

    def resolve():
        clock[0] += 5

    store.error = StoreUnavailable("Gone.", unreachable="store")
    for attempt in (1, 2):
        store.meanwhile.append(resolve)
        stash("a")
        clock[0] += 4.5
        stash("a")
        assert store.asked == attempt
        clock[0] += 0.5
    stash("a")
    assert store.asked == 3


def test_the_nodes_of_a_store_that_is_out_are_tried_in_turn(store, stash, clock):
    """Else each answer would wait for another node, as the first is to be tried again by then."""
    store.error = StoreUnavailable("Gone.", unreachable="node")
    for node in "abcabcabc":
        store.meanwhile.append(lambda: clock.__setitem__(0, clock[0] + 1.01))
        stash(node)
    assert store.asked == 3


def test_nodes_that_were_removed_do_not_keep_messages_from_another(store, stash, clock):
    """A cluster never says of them that they are back."""
    store.error = StoreUnavailable("Gone.", unreachable="node")
    for node in "abcdefgh":
        stash(node)
        clock[0] += 3600
    stash("z")
    store.error = None
    clock[0] += 1
    assert stash("z")


CALLS = {
    "stash": lambda breaker: breaker.stash("a", Message("a"), timedelta(1)),
    "amend": lambda breaker: breaker.amend("a", Message("a")),
    "vote": lambda breaker: breaker.vote("a", [b""], VoteRequest(b"[1]", 20)),
    "read": lambda breaker: breaker.read(["a"], [b""]),
}


@pytest.mark.parametrize(("call", "asked"), [("stash", 1), ("amend", 1), ("vote", 2), ("read", 2)])
def test_who_votes_or_reads_tries_a_store_that_is_down_at_once(store, breaker, call, asked):
    store.error = StoreUnavailable("Gone.", unreachable="store")
    for each in (call, call):
        with pytest.raises(StoreUnavailable):
            CALLS[each](breaker)
    assert store.asked == asked


@pytest.mark.parametrize("call", ["vote", "read"])
def test_of_those_who_try_at_once_only_the_first_asks(store, breaker, call):
    store.error = StoreUnavailable("Gone.", unreachable="store")

    def ask():
        with pytest.raises(StoreUnavailable):
            CALLS[call](breaker)

    ask()
    store.meanwhile.append(ask)
    ask()
    assert store.asked == 2


def test_who_waited_in_vain_for_a_turn_leaves_it_to_the_next(store, breaker):
    for unreachable in ("store", "turn", "turn"):
        store.error = StoreUnavailable("Gone.", unreachable=unreachable)
        with pytest.raises(StoreUnavailable):
            CALLS["vote"](breaker)
    assert store.asked == 3


def test_who_was_stopped_while_asking_leaves_the_turn_to_the_next(store, breaker):

    def stop():
        raise KeyboardInterrupt

    store.error = StoreUnavailable("Gone.", unreachable="store")
    with pytest.raises(StoreUnavailable):
        CALLS["vote"](breaker)
    store.meanwhile.append(stop)
    with pytest.raises(KeyboardInterrupt):
        CALLS["vote"](breaker)
    store.error = None
    assert CALLS["vote"](breaker)


def test_an_outage_keeps_nothing_of_the_request_that_found_it(store, breaker, caplog):
    caplog.set_level(logging.ERROR, "feedback_blueprint")  # a record would keep it, too

    class Result:
        pass

    def find():
        result = Result()
        found.append(weakref.ref(result))
        with contextlib.suppress(StoreUnavailable):
            CALLS["stash"](breaker)

    found = []
    store.error = StoreUnavailable("Gone.", unreachable="store")
    find()
    store.error = None
    gc.collect()
    assert found[0]() is None


def test_a_store_without_nodes_is_down_as_a_whole(store, stash):
    store.error = StoreUnavailable("Gone.", unreachable="node")
    assert [stash(" 1"), stash("b1")] == [False] * 2
    assert store.asked == 1


def test_each_call_that_asks_the_store_is_measured(store, stash, took, clock):
    def take():
        clock[0] += 0.1

    store.meanwhile.append(take)
    stash("a")
    store.error = StoreUnavailable("Gone.", unreachable="store")
    store.meanwhile.append(take)
    for _ in range(3):
        stash("a")
    assert took == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_takes_over_half_its_timeout_is_logged_with_what_to_do(
    store, breaker, clock, caplog, call
):
    def take(seconds):
        def wait():
            clock[0] += seconds

        store.meanwhile.append(wait)
        CALLS[call](breaker)

    take(TIMEOUT * 0.49)
    assert caplog.messages == []
    for _ in range(3):
        take(TIMEOUT * 0.8)
    [line] = caplog.messages
    assert line.startswith("The store is slow: a call took 0.20 s, and fails at 0.50 s.")
    assert "network" in line
    assert "FEEDBACK_STORE_TIMEOUT" in line
    assert is_quoted(line)


def test_a_store_that_is_back_is_logged_with_what_was_missed(store, breaker, clock, caplog):
    def fail(call, times):
        for _ in range(times):
            with pytest.raises(StoreUnavailable):
                CALLS[call](breaker)

    store.error = StoreUnavailable("Gone.", unreachable="store")
    fail("stash", 3)  # the first asks, the others do not
    fail("vote", 2)
    for call in "amend", "read":
        fail(call, 1)
    clock[0] += 30
    store.error = None
    CALLS["read"](breaker)
    assert caplog.messages == ["Feedback cannot be kept. Gone. See its log."], (
        "nothing was kept yet"
    )
    CALLS["vote"](breaker)
    CALLS["stash"](breaker)
    assert caplog.messages[1:] == [
        "The store is back. In 30 s, 3 messages were not kept, and 2 votes refused."
    ]
    assert is_quoted(caplog.messages[1])


def test_of_a_store_that_comes_and_goes_the_log_says_so_once_a_minute(store, stash, clock, caplog):
    for _ in range(3):
        store.error = StoreUnavailable("Full.")
        stash("a")
        store.error = None
        stash("a")
        clock[0] += 20
    stash("a")
    back = [line for line in caplog.messages if " is back" in line]
    assert [line.split(" s, ")[1] for line in back] == [
        "1 messages were not kept, and 0 votes refused.",
        "2 messages were not kept, and 0 votes refused.",
    ]


def test_a_node_is_back_when_it_keeps_something(store, stash, clock, caplog):
    store.error = StoreUnavailable("Gone.", unreachable="node")
    stash("a")
    store.error = None
    clock[0] += 2
    stash("b")
    assert not any(" is back" in line for line in caplog.messages)
    stash("a")
    assert caplog.messages[-1].startswith("Node a of the store is back. In 2 s, 1 messages")
    assert is_quoted(caplog.messages[-1])


def test_another_cause_of_the_same_remedy_is_logged_too(store, breaker, caplog):
    for why in ("Error 111 at 1", "Error 111 at 2", "No such host"):
        store.error = StoreUnavailable(why, "Check that it runs.")
        with pytest.raises(StoreUnavailable):
            CALLS["vote"](breaker)
    assert caplog.messages == [
        "Feedback cannot be kept. Error 111 at 1. Check that it runs.",
        "Feedback cannot be kept. No such host. Check that it runs.",
    ]
