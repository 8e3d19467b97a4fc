"""The contract of every store for what an app's processes announce to one another."""

from __future__ import annotations

from feedback_blueprint.stores import SQLiteStore


def test_what_processes_announced_is_known_to_each(store):
    assert store.announce("keys", b"a") == [b"a"]
    assert sorted(store.announce("keys", b"b")) == [b"a", b"b"]
    assert sorted(store.announce("keys", b"a")) == [b"a", b"b"]
    assert store.announce("others", b"c") == [b"c"]


def test_what_was_announced_in_a_file_is_forgotten_after_an_hour(tmp_path, ahead):
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    store.announce("keys", b"a")
    ahead(3599)
    assert sorted(store.announce("keys", b"b")) == [b"a", b"b"]
    ahead(3601 + 3599)
    assert store.announce("keys", b"c") == [b"c"]
