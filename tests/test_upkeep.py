"""What a process does with a harvest of its agent beside the delivery."""

from __future__ import annotations

import time
from types import SimpleNamespace

from outage import failing
from processes import wait_until
from runbook import is_quoted
from stand_in import APPLICATION

from feedback_blueprint.agent.harvests import Harvest
from feedback_blueprint.checks import check


def test_processes_whose_secret_keys_differ_are_named(start, caplog):
    """As of an app that makes a key at import: a message of one is nobody's to the other."""
    for secret_key in "one", "another":
        process = start(rater=str, app={"SECRET_KEY": secret_key})
        process.votes.upkeep.harvested(Harvest(APPLICATION))
        process.votes.upkeep.harvested(Harvest(APPLICATION))
    [warning] = [text for text in caplog.messages if "SECRET_KEY" in text]
    assert "other keys within the last hour: 1. Give all processes the same SECRET_KEY" in warning
    assert is_quoted(warning)
    finding = next(each for each in check(process.votes) if each.what == "SECRET_KEY")
    assert not finding.ok


def test_processes_with_a_common_secret_key_or_fallback_are_not_named(start, caplog):
    start(rater=str, app={"SECRET_KEY": "old"}).votes.upkeep.harvested(Harvest(APPLICATION))
    process = start(rater=str, app={"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["old"]})
    process.votes.upkeep.harvested(Harvest(APPLICATION))
    assert not [text for text in caplog.messages if "SECRET_KEY" in text]


def test_without_a_rater_no_key_is_announced(start):
    process = start()
    process.votes.upkeep.harvested(Harvest(APPLICATION))
    assert process.votes.store.announce("fb:!keys:", b"seen") == [b"seen"]


def test_a_key_is_announced_later_if_the_store_is_down(start):
    process = start(rater=str)

    with failing(process.votes.store, "announce"):
        process.votes.upkeep.harvested(Harvest(APPLICATION))
    process.votes.upkeep.harvested(Harvest(APPLICATION))
    assert len(process.votes.store.announce("fb:!keys:", b"seen")) == 2


def test_what_has_expired_goes_with_a_harvest(start, monkeypatch):
    process = start(app={"FEEDBACK_TTL": 0.3, "FEEDBACK_VOTE_TTL": 0.3})
    message_id = process.stash()
    store = process.votes.store
    wait_until(lambda: store.show(f"fb:{message_id}") is None, "expired")
    clock = SimpleNamespace(time=lambda: time.time() + 90_000)  # more than a day later
    monkeypatch.setattr("feedback_blueprint.stores.sqlite.store.time", clock)
    process.votes.upkeep.harvested(Harvest(APPLICATION))
    assert sum(number for number, _ in store.export("fb:", lambda _: True, [b"a" * 16])) == 0
