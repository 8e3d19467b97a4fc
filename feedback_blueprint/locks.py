"""Locks that outlive a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

L = TypeVar("L", bound=AbstractContextManager[Any])


class OfProcess(Generic[L]):
    """A lock for each process.

    A child that is forked while its parent holds the lock would wait for ever, and one that gevent
    patches after the fork needs a lock of gevent's.
    """

    def __init__(self, make: Callable[[], L]) -> None:
        self._make = make
        self._locks: dict[int, L] = {}

    def __call__(self) -> L:
        """Return the lock of this process."""
        pid = os.getpid()
        return self._locks.get(pid) or self._locks.setdefault(pid, self._make())
