"""What each process has for itself, and what its threads share."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

from feedback_blueprint.per_process import PerProcess, new_lock, new_reentrant_lock
from feedback_blueprint.stores.redis.connections import Cached


def test_threads_share_a_lock():
    lock = PerProcess(new_lock)
    with lock():
        assert not lock().acquire(blocking=False)
    assert lock().acquire(blocking=False)


def test_a_child_has_a_lock_of_its_own():
    lock = PerProcess(new_lock)
    with lock():
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # which ends it, if it waits
            with lock():
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_a_lock_is_what_has_been_put_in_its_place_before_its_first_use(monkeypatch):
    """As gevent does in a worker, if the app was loaded before the fork."""
    lock, reentrant = PerProcess(new_lock), PerProcess(new_reentrant_lock)
    monkeypatch.setattr(threading, "Lock", lambda: "a greenlet's")
    monkeypatch.setattr(threading, "RLock", lambda: "a greenlet's, too")
    assert (lock(), reentrant()) == ("a greenlet's", "a greenlet's, too")


def test_who_waited_for_the_lock_takes_what_another_made_meanwhile(monkeypatch):
    made = []

    class Overtaken:
        """A lock that another gets first, the first time."""

        def acquire(self, timeout):
            if not made:
                made.append("by another")
                assert cached.get() == 1
            return timeout > 0

        def release(self):
            pass

    def make():
        made.append("made")
        return made.count("made")

    cached = Cached(make, 60)
    monkeypatch.setattr(cached, "_lock", Overtaken)
    assert cached.get() == 1
    assert made == ["by another", "made"]


def test_what_is_shared_is_made_again_after_its_time_and_an_error_after_a_second():
    now, made = [1000.0], iter(["one", ConnectionError("two"), "three"])

    def make():
        value = next(made)
        if isinstance(value, Exception):
            raise value
        return value

    cached = Cached(make, 60, clock=lambda: now[0])
    for seconds, value in (0, "one"), (60, "one"), (0.1, "two"), (1, "two"), (0.1, "three"):
        now[0] += seconds
        with suppress(ConnectionError):
            assert cached.get() == value
        assert str(cached.value) == value
