"""What the contract of every store is tested with: a store of each kind, and votes on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import pytest
from conftest import SCALED_OUT, STORES

from feedback_blueprint.stores import (
    ANYONE,
    Ballot,
    Confirmation,
    Store,
    store_from_url,
)

WEEK = timedelta(days=7)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ANN, BOB = b"a" * 16, b"b" * 16


def cast(store, vote=b'["good"]', *, raters=(ANYONE,), attempt=None, instead_of=b"", limit=20):
    return store.vote("m", raters, Ballot(vote, attempt or os.urandom(8), limit, instead_of))


def confirm(store, voter, attempt):
    store.confirm([Confirmation("m", voter, attempt)])


def cast_and_confirm(store, vote=b'["good"]', **kwargs):
    attempt = os.urandom(8)
    outcome = cast(store, vote, attempt=attempt, **kwargs)
    if outcome.status == "accepted":
        voter = outcome.message.voter(kwargs.get("raters", (ANYONE,)))
        confirm(store, voter, attempt)
    return outcome


@pytest.fixture(params=STORES + SCALED_OUT)
def store(request: pytest.FixtureRequest, new_store_url: Callable[[str], str]) -> Store:
    """An empty store of each kind in turn, scaled out or not."""
    url = new_store_url(request.param)
    return store_from_url(url, timeout=2, instance_path="", key="FEEDBACK_STORE_URL")
