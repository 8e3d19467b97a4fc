"""The file goes, or another takes its place, while processes have it open: they meet in that."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from runbook import is_quoted

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import Message, VoteRequest
from feedback_blueprint.stores import SQLiteStore
from feedback_blueprint.stores.sqlite import files

FORK = multiprocessing.get_context("fork")


def serve(path: Path, asked: Connection) -> None:
    store = SQLiteStore(path, timeout=5)
    while True:
        what, key = asked.recv()
        if what == "stash":
            asked.send(store.stash(key, Message("0" * 32), timedelta(days=1)))
        else:
            asked.send(store.vote(key, [b""], VoteRequest(b"[1]", 20)).status)


class Worker:
    """A process that has the file open from its first call on."""

    def __init__(self, path: Path) -> None:
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=serve, args=(path, theirs), daemon=True)
        self.process.start()

    def stash(self, key: str) -> bool:
        self.pipe.send(("stash", key))
        return bool(self.pipe.recv())

    def vote(self, key: str) -> str:
        self.pipe.send(("vote", key))
        return str(self.pipe.recv())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.sqlite3"


@pytest.fixture
def start(path: Path) -> Iterator[Callable[[], Worker]]:
    """Start processes that use the file."""
    with ExitStack() as workers:

        def start() -> Worker:
            worker = Worker(path)
            workers.callback(worker.process.kill)
            return worker

        yield start


def remove_all(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def remove_it_alone(path: Path) -> None:
    """What lies beside it stays: SQLite would take that for the next file's."""
    path.unlink()


def replace(path: Path) -> None:
    backup = path.with_name("backup")
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    connection.close()
    for each in path.parent.glob("*-*"):
        each.unlink()
    backup.replace(path)


def replace_it_alone(path: Path) -> None:
    """What was written after the backup stays beside it, in a WAL that is not its own."""
    backup = path.with_name("backup")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    later = SQLiteStore(path, timeout=5)
    assert all(later.stash(f"later {n}", Message("0" * 32), timedelta(days=1)) for n in range(300))
    backup.replace(path)


@pytest.mark.parametrize(
    ("happens", "before", "newcomer_is_first"),
    [
        (remove_all, "unknown", False),
        (remove_all, "unknown", True),
        (remove_it_alone, "unknown", False),
        (remove_it_alone, "unknown", True),
        (replace, "accepted", False),
        (replace, "accepted", True),
        # A newcomer, which never had the other file open, cannot know whose WAL it finds.
        (replace_it_alone, "accepted", False),
    ],
)
def test_all_processes_meet_in_the_file_that_is_there(
    path: Path,
    start: Callable[[], Worker],
    happens: Callable[[Path], None],
    before: str,
    newcomer_is_first: bool,
) -> None:
    first, second = start(), start()
    assert (first.stash("one"), second.stash("two")) == (True, True)
    happens(path)
    newcomer = start()
    if newcomer_is_first:
        assert newcomer.stash("new")
        assert first.vote("one") == before
    else:
        assert first.vote("one") == before
        assert newcomer.stash("new")
    assert [each.vote("new") for each in (first, second, newcomer)] == [
        "accepted",
        "unchanged",
        "unchanged",
    ]
    assert first.stash("again")
    assert [each.vote("again") for each in (newcomer, second)] == ["accepted", "unchanged"]
    assert all(finding.ok for finding in SQLiteStore(path, timeout=5).check(full=True))


def test_who_finds_no_file_spoils_none_that_another_makes_meanwhile(
    start: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_about_to, may_go_on = FORK.Event(), FORK.Event()

    def slowly(*args: Path) -> None:
        is_about_to.set()
        may_go_on.wait()
        remove_companions(*args)

    remove_companions = files.remove_companions
    with monkeypatch.context() as patched:
        patched.setattr(files, "remove_companions", slowly)
        slow = start()
    quick = start()
    slow.pipe.send(("stash", "slow"))
    assert is_about_to.wait(60)
    quick.pipe.send(("stash", "quick"))
    assert not quick.pipe.poll(0.5), "it has to wait"
    may_go_on.set()
    assert (slow.pipe.recv(), quick.pipe.recv()) == (True, True)
    assert (slow.vote("quick"), quick.vote("slow")) == ("accepted", "accepted")


def test_the_log_says_once_that_a_file_is_gone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(path, timeout=1)
    for _ in range(2):
        assert store.read(["m"], [b""]) == [None]
    assert not caplog.messages
    remove_all(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert store.read(["m"], [b""]) == [None]
    [line] = caplog.messages
    assert str(path) in line
    assert "removed or replaced" in line
    assert is_quoted(line)


def test_a_folder_that_another_program_keeps_locked_is_not_waited_for(path: Path) -> None:
    store, begun = SQLiteStore(path, timeout=0.2), time.monotonic()
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="its folder is locked"):
            store.stash("m", Message("0" * 32), timedelta(days=1))
        assert time.monotonic() < begun + 5
    finally:
        os.close(handle)
    assert store.stash("m", Message("0" * 32), timedelta(days=1))


def test_a_backup_that_takes_the_place_of_the_file_is_not_spoiled_by_its_wal(path: Path) -> None:
    store = SQLiteStore(path, timeout=5)
    assert store.stash("one", Message("0" * 32), timedelta(days=1))
    replace_it_alone(path)
    assert store.stash("two", Message("0" * 32), timedelta(days=1))
    found = [each is not None for each in store.read(["one", "two", "later 1"], [b""])]
    assert found == [True, True, False]
    assert all(finding.ok for finding in store.check(full=True))


def test_to_clean_up_makes_no_file(path: Path) -> None:
    SQLiteStore(path, timeout=5).clean_up()
    assert not path.exists()
