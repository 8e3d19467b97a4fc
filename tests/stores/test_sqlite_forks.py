"""A process with a SQLite file open is forked: neither it nor its child gets in the other's way."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from outage import soon

from feedback_blueprint.model import Message
from feedback_blueprint.stores import SQLiteStore
from feedback_blueprint.stores.sqlite.client import Client
from feedback_blueprint.stores.sqlite.layout import STASH, row_of


def stash(store: SQLiteStore, key: str, content: str | None = None) -> bool:
    return store.stash(key, Message("0" * 32, content=content), timedelta(days=1))


@contextmanager
def child_that_stashes(
    store: SQLiteStore, fork: Callable[[], int] = os.fork
) -> Iterator[Callable[[str], bool]]:
    """A child of this process that keeps what it is told to, and says whether it did."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = fork()
        if child == 0:
            ours.close()
            signal.alarm(30)
            try:
                while key := theirs.recv(100):
                    theirs.send(b"%d" % stash(store, key.decode()))
            finally:
                os._exit(0)
        theirs.close()

        def tell(key: str) -> bool:
            ours.send(key.encode())
            return ours.recv(1) == b"1"

        yield tell
    os.waitpid(child, 0)


def test_a_child_forked_while_a_thread_writes_can_write(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    keys = [f"m{number}" for number in range(10)]
    kept = []

    def write(key: str) -> bool:
        return stash(store, key, "x" * 2_000_000)

    with ThreadPoolExecutor(1) as another:
        writing = [another.submit(write, key) for key in keys]
        while not writing[-1].done():
            with child_that_stashes(store) as tell:
                kept.append(tell(f"child-{len(kept)}"))
    assert all(each.result() for each in writing)
    assert kept
    assert all(kept)


def disconnect(store: SQLiteStore) -> None:
    with pytest.raises(KeyboardInterrupt), store._connected():
        raise KeyboardInterrupt


def test_what_a_child_keeps_is_there_when_its_parent_has_closed_the_file(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    assert stash(store, "before")
    with child_that_stashes(store) as tell:
        for key in "abc":
            assert tell(key)
            disconnect(store)
            assert store.read([key], [b""]) != [None]


def test_a_child_uses_no_connection_of_a_parent_that_forked_in_secret(tmp_path: Path) -> None:
    """As uWSGI's C code does, by default."""
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    assert stash(store, "before")
    with child_that_stashes(store, ctypes.PyDLL(None).fork) as tell:
        assert tell("child")
        assert stash(store, "parent")
    assert None not in store.read(["before", "child", "parent"], [b""])


def test_a_child_of_a_parent_that_forked_in_secret_spoils_no_write_when_it_forks(
    tmp_path: Path,
) -> None:
    """Were its copy of the connection closed, that would undo what is being written."""
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    keys = [f"m{number}" for number in range(20)]
    with store._connected() as execute:
        execute("BEGIN IMMEDIATE")
        for key in keys:
            message = row_of(Message("0" * 32, content="x" * 1_000_000))
            execute(STASH.format(raters=""), {"key": key, "now": 0, "expires": 9e9, **message})
        child = ctypes.PyDLL(None).fork()
        if child == 0:
            signal.alarm(30)
            os.waitpid(os.fork() or os._exit(0), 0)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        execute("COMMIT")
    assert None not in store.read(keys, [b""])
    assert all(finding.ok for finding in store.check(full=True))


def test_threads_fork_one_after_the_other(tmp_path: Path) -> None:
    """Else the end of one fork would lend the connection while the next one copies it."""
    both = threading.Barrier(2)

    class Watched(Client):
        @contextmanager
        def disconnected(self) -> Iterator[None]:
            with suppress(threading.BrokenBarrierError):
                both.wait(timeout=0.2)
            with super().disconnected():
                yield

    watched = Watched(tmp_path / "feedback.sqlite3", timeout=2)

    def fork(_: str) -> int:
        child = os.fork()
        if child == 0:
            os._exit(0)
        return os.waitpid(child, 0)[1]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(fork, "12")) == [0, 0]
    assert both.broken
    with watched.connected() as execute:
        assert execute("SELECT 1").fetchone() == (1,)


def test_a_fork_amid_a_call_does_not_wait_for_its_end(tmp_path: Path) -> None:
    """A handler of a signal that forks would wait for the call that it has interrupted."""
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=0.1)
    with store._connected() as execute:
        with soon(), child_that_stashes(store) as tell:
            assert tell("child")
        execute("SELECT 1")
    assert store.read(["child"], [b""]) != [None]
