"""Locks that outlive a fork."""

from __future__ import annotations

import os
import threading


class PerProcess:
    """A lock for each process, made when first used.

    A child that is forked while its parent holds the lock would wait for ever, and one that gevent
    patches after the fork needs a lock of gevent's: who waits for another stops all greenlets, the
    one that holds it included.
    """

    def __init__(self, *, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._locks: dict[int, threading.Lock | threading.RLock] = {}

    def __call__(self) -> threading.Lock | threading.RLock:
        """Return the lock of this process."""
        pid = os.getpid()
        return self._locks.get(pid) or self._locks.setdefault(pid, self._make())

    def _make(self) -> threading.Lock | threading.RLock:
        return threading.RLock() if self._reentrant else threading.Lock()
