"""A lock that is held when a process forks is free in the child."""

from __future__ import annotations

import os
import signal
import threading

from feedback_blueprint.locks import OfProcess


def test_threads_share_a_lock():
    lock = OfProcess(threading.Lock)
    with lock():
        assert not lock().acquire(blocking=False)
    assert lock().acquire(blocking=False)


def test_a_child_has_a_lock_of_its_own():
    lock = OfProcess(threading.Lock)
    with lock():
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # which ends it, if it waits
            with lock():
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
