"""What the contract of every store is tested with: a store of each kind, and votes on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from store_kinds import SCALED_OUT, STORES

from feedback_blueprint.model import ANYONE, DEFAULT_VOTE_TTL, CastVote, VoteRequest
from feedback_blueprint.stores import Store, store_from_url
from feedback_blueprint.stores.sqlite import store as sqlite_store

DAY, WEEK = timedelta(days=1), timedelta(days=7)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
OUTBOX = "!outbox:tests"
ANN, BOB = b"a" * 16, b"b" * 16


def store_at(url: str, timeout: float = 2) -> Store:
    """The store that an app has whose URL of a store this is."""
    return store_from_url(url, timeout=timeout, instance_path="", key="FEEDBACK_STORE_URL")


def cast(
    store,
    vote=b'["good"]',
    *,
    raters=(ANYONE,),
    limit=20,
    outbox=OUTBOX,
    lease=60,
    ttl=DEFAULT_VOTE_TTL,
):
    return store.vote("m", raters, VoteRequest(vote, limit, outbox, lease, ttl))


def votes_shown(store: Store, key: str) -> dict[bytes, CastVote]:
    """What an operator is shown of the votes on a message, by voter."""
    return {vote.voter: vote for vote in store.show(key).votes}


def seconds_left(store: Store, key: str) -> tuple[float, float]:
    """For how long anyone new can rate a message, and for how long it is kept."""
    shown, now = store.show(key), time.time()
    return shown.rateable_until - now, shown.expires_at - now


def is_cluster(store: Store) -> bool:
    return "+cluster://" in store.location()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of files so many seconds ahead; a clean-up comes with each message."""
    monkeypatch.setattr("feedback_blueprint.stores.sqlite.store.random.random", lambda: 0.0)

    def ahead(seconds: float) -> None:
        clock = SimpleNamespace(time=lambda: time.time() + seconds)
        monkeypatch.setattr(sqlite_store, "time", clock)

    return ahead


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clock of files stand still."""
    now = time.time()
    monkeypatch.setattr(sqlite_store, "time", SimpleNamespace(time=lambda: now))


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen between the look and the write of the next vote in a file."""
    look_as_ever = sqlite_store._find

    def have(happen: Callable[[], object]) -> None:
        def look(*args: Any) -> Any:
            monkeypatch.setattr(sqlite_store, "_find", look_as_ever)
            seen = look_as_ever(*args)
            happen()
            return seen

        monkeypatch.setattr(sqlite_store, "_find", look)

    return have


#: A client of a cluster asks for all commands that there are: that takes longer than most tests.
store_in_cluster = cache(store_at)


@pytest.fixture(params=STORES + SCALED_OUT)
def store(request: pytest.FixtureRequest, new_store_url: Callable[[str], str]) -> Store:
    """An empty store of each kind in turn, scaled out or not."""
    url = new_store_url(request.param)
    return store_in_cluster(url) if request.param == "cluster" else store_at(url)
