"""What the contract of every store is tested with: a store of each kind, and votes on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from store_kinds import SCALED_OUT, STORES

from feedback_blueprint.model import ANYONE, CastVote, VoteRequest
from feedback_blueprint.stores import Store, store_from_url

DAY, WEEK, DEFAULT_VOTE_TTL = (timedelta(days=days) for days in (1, 7, 30))
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
OUTBOX = "!outbox:tests"
ANN, BOB = b"a" * 16, b"b" * 16


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


@pytest.fixture(params=STORES + SCALED_OUT)
def store(request: pytest.FixtureRequest, new_store_url: Callable[[str], str]) -> Store:
    """An empty store of each kind in turn, scaled out or not."""
    url = new_store_url(request.param)
    return store_from_url(url, timeout=2, instance_path="", key="FEEDBACK_STORE_URL")
