"""What each process makes for itself, such as a lock: a forked child does not use its parent's."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Calls `make` once in each process, when the value is first used, and returns that value.

    A child that is forked while another thread of its parent holds a lock would wait for it for
    ever. And if gevent patches a child after the fork, the child needs gevent's own lock: with any
    other, a greenlet that waits stops all greenlets, and so the one that holds the lock.

    A child does not free what its parent made: to close the parent's connection could harm it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}

    def __call__(self) -> T:
        """Return the value of this process."""
        pid = os.getpid()
        try:
            return self._values[pid]
        except KeyError:
            return self._values.setdefault(pid, self._make())  # another thread may be first


def new_lock() -> threading.Lock:
    """Return a lock: gevent's own if gevent has patched this process by now.

    So this is a function, which looks for the class when it is called.
    """
    return threading.Lock()


def new_reentrant_lock() -> threading.RLock:
    """Return a lock that its holder can take again: gevent's own if gevent has patched by now."""
    return threading.RLock()
