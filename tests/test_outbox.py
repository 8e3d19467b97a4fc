"""Confirmations are sent together, soon, by whoever has them, whatever becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from processes import wait_until

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.stores import Ballot, Confirmation, Message, SQLiteStore
from feedback_blueprint.stores.outbox import TRIES, send_soon

CONFIRMATIONS = [Confirmation(f"key {number}", b"voter", b"attempt") for number in range(100)]
WEEK = timedelta(days=7)


@pytest.fixture
def voted(tmp_path: Path) -> SQLiteStore:
    """A store with a vote that is to be confirmed."""
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=2)
    store.stash("m", Message("t"), WEEK)
    store.vote("m", [b""], Ballot(b"[1]", b"attempt", 20))
    return store


def pending(store: SQLiteStore) -> bool:
    [standing] = store.read(["m"], [b""])
    assert standing
    return standing.pending


def test_confirmations_wait_for_each_other():
    batches: list[list[Confirmation]] = []
    for confirmation in CONFIRMATIONS:
        send_soon(batches.append, confirmation)
    wait_until(lambda: sum(map(len, batches)) == 100, "all")
    assert [each for batch in batches for each in batch] == CONFIRMATIONS
    assert len(batches) < 10


def test_each_store_gets_its_own():
    one: list[Confirmation] = []
    other: list[Confirmation] = []
    send_soon(one.extend, CONFIRMATIONS[0])
    send_soon(other.extend, CONFIRMATIONS[1])
    wait_until(lambda: one and other, "both")
    assert (one, other) == (CONFIRMATIONS[:1], CONFIRMATIONS[1:2])


def test_a_store_that_fails_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr("feedback_blueprint.stores.outbox.TRIES", 1)
    sent: list[Confirmation] = []
    for confirmation in CONFIRMATIONS[:2]:
        send_soon(lambda _: 1 / 0, confirmation)
        send_soon(sent.extend, confirmation)
        wait_until(lambda each=confirmation: each in sent, "it")


@pytest.mark.parametrize(
    ("error", "with_traceback"), [(StoreUnavailable("Gone."), False), (ZeroDivisionError(), True)]
)
def test_what_could_not_be_sent_is_sent_again_for_some_time(
    monkeypatch, caplog, error, with_traceback
):
    monkeypatch.setattr("feedback_blueprint.stores.outbox._outboxes", {})
    monkeypatch.setattr("feedback_blueprint.stores.outbox.PAUSE", 0.01)
    tried: list[Confirmation] = []

    def refuse(confirmations: Sequence[Confirmation]) -> None:
        tried.extend(confirmations)
        complained.append(len(caplog.records))
        raise error

    complained: list[int] = []
    send_soon(refuse, CONFIRMATIONS[0])
    wait_until(lambda: len(tried) == TRIES, "the last try")
    sent: list[Confirmation] = []
    send_soon(sent.extend, CONFIRMATIONS[1])
    wait_until(lambda: sent, "the next one")
    assert tried == CONFIRMATIONS[:1] * TRIES
    [record] = caplog.records
    assert "not confirmed" in record.message
    assert bool(record.exc_info) is with_traceback
    assert complained == [0] * TRIES, "of what is tried again nobody needs to know"


def test_what_failed_is_sent_again_however_much_fails_since(monkeypatch):
    monkeypatch.setattr("feedback_blueprint.stores.outbox._outboxes", {})
    monkeypatch.setattr("feedback_blueprint.stores.outbox.PAUSE", 0.2)
    sent: list[Confirmation] = []

    def send(confirmations: Sequence[Confirmation]) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            raise StoreUnavailable("Gone.")
        sent.extend(confirmations)

    def fail(_: Sequence[Confirmation]) -> None:
        raise StoreUnavailable("Gone, too.")

    def traffic() -> bool:
        send_soon(fail, CONFIRMATIONS[1])
        return CONFIRMATIONS[0] in sent

    times: list[float] = []
    send_soon(send, CONFIRMATIONS[0])
    wait_until(traffic, "the first one")
    assert times[1] - times[0] > 0.2


def test_a_defect_does_not_end_the_sending(monkeypatch):
    monkeypatch.setattr("feedback_blueprint.stores.outbox._outboxes", {})
    monkeypatch.setattr("feedback_blueprint.stores.outbox.TRIES", 1)
    sent: list[Confirmation] = []

    class Unprintable(Exception):
        def __str__(self) -> str:
            return self.args[0] / 0

    def send(_: Sequence[Confirmation]) -> None:
        tried.append(True)
        raise Unprintable(1)

    tried: list[bool] = []
    send_soon(send, CONFIRMATIONS[0])
    wait_until(lambda: tried, "the one that fails")
    send_soon(sent.extend, CONFIRMATIONS[1])
    wait_until(lambda: sent, "the next one")


def test_many_at_once_start_one_thread(monkeypatch):
    def outboxes() -> int:
        return [thread.name for thread in threading.enumerate()].count("feedback-outbox")

    monkeypatch.setattr("feedback_blueprint.stores.outbox._outboxes", {})
    before = outboxes()
    sent: list[Confirmation] = []
    with ThreadPoolExecutor(50) as pool:
        for confirmation in CONFIRMATIONS:
            pool.submit(send_soon, sent.extend, confirmation)
    wait_until(lambda: sorted(sent) == sorted(CONFIRMATIONS), "all")
    assert outboxes() == before + 1


def test_where_no_thread_can_be_had_it_is_sent_at_once(monkeypatch):
    def refuse(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("feedback_blueprint.stores.outbox._outboxes", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)
    sent: list[Confirmation] = []
    send_soon(sent.extend, CONFIRMATIONS[0])
    assert sent == CONFIRMATIONS[:1]


def test_a_forked_process_sends_its_own(voted):
    assert pending(voted)
    send_soon(lambda _: None, CONFIRMATIONS[0])  # so that there is a thread, here
    child = os.fork()
    if child == 0:
        send_soon(voted.confirm, Confirmation("m", b"", b"attempt"))
        threading.Event().wait(30)
    try:
        wait_until(lambda: not pending(voted), "the child's confirmation")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_process_that_ends_sends_what_it_has(voted, tmp_path):
    code = f"""
from pathlib import Path
from feedback_blueprint.stores import Confirmation, SQLiteStore
from feedback_blueprint.stores.outbox import TRIES, send_soon
store = SQLiteStore(Path({str(tmp_path / "feedback.sqlite3")!r}), timeout=2)
send_soon(store.confirm, Confirmation("m", b"", b"attempt"))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not pending(voted)


def test_a_process_that_ends_tries_once_more_what_has_just_failed(voted, tmp_path):
    code = f"""
import threading
from pathlib import Path
from feedback_blueprint.stores import Confirmation, SQLiteStore
from feedback_blueprint.stores.outbox import send_soon
store = SQLiteStore(Path({str(tmp_path / "feedback.sqlite3")!r}), timeout=2)
tried = threading.Event()
def send(confirmations):
    if tried.is_set():
        store.confirm(confirmations)
    tried.set()
    raise OSError
send_soon(send, Confirmation("m", b"", b"attempt"))
tried.wait()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not pending(voted)


def test_a_fork_leaves_what_its_parent_has_to_the_parent():
    code = """
import os
from feedback_blueprint.stores import Confirmation
from feedback_blueprint.stores.outbox import send_soon
def send(confirmations):
    print(len(confirmations), flush=True)
send_soon(send, Confirmation("m", b"", b"attempt"))
if child := os.fork():
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "1\n"
