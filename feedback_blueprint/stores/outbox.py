"""Confirmations of votes, which wait for each other a moment: no request sends its own."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import StoreUnavailable
from ..logs import Complaints
from .base import Confirmation

MOMENT = 0.05
"""Seconds from a confirmation until it is sent, with those since: nobody clicks so fast."""

PAUSE, TRIES = 1.0, 10
"""Seconds until what failed is sent again, and how often it is tried: longer than a failover."""

Send = Callable[[Sequence[Confirmation]], None]


class Waiting(NamedTuple):
    """A confirmation, how to send it, how often that has failed, and when to try again."""

    confirmation: Confirmation
    send: Send
    failures: int = 0
    due: float = -math.inf


class Outbox:
    """What one process is to send, and the thread that sends it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._started = False
        self._starting = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self._filled = threading.Event()
        self._sending = threading.Lock()
        self._complaints = Complaints()

    def put(self, send: Send, confirmation: Confirmation) -> None:
        """Leave a confirmation to be sent with `send`, and do not wait.

        Raises `RuntimeError` where no thread can be had.
        """
        if not self._started:
            with self._starting:  # of three hundred greenlets at once, one starts it
                if not self._started:
                    threading.Thread(target=self._run, name="feedback-outbox", daemon=True).start()
                    atexit.register(self._end)
                    self._started = True
        self._waiting.append(Waiting(confirmation, send))
        self._filled.set()

    def _run(self) -> None:
        while True:
            self._filled.wait(PAUSE if self._waiting else None)
            time.sleep(MOMENT)  # for others to come
            self._filled.clear()
            with self._complaints.quietly("Votes are not confirmed, and may be recorded twice."):
                self._send_all(time.monotonic())

    def _send_all(self, now: float) -> None:
        with self._sending:
            batches: dict[Send, list[Waiting]] = defaultdict(list)
            for _ in range(len(self._waiting)):
                waiting = self._waiting.popleft()
                if waiting.due <= now:
                    batches[waiting.send].append(waiting)
                else:
                    self._waiting.append(waiting)
            for send, batch in batches.items():
                try:
                    send([waiting.confirmation for waiting in batch])
                except Exception as error:
                    self._put_back(batch, error)

    def _put_back(self, batch: Sequence[Waiting], error: Exception) -> None:
        due = time.monotonic() + PAUSE
        again = [waiting._replace(failures=waiting.failures + 1, due=due) for waiting in batch]
        self._waiting.extend(waiting for waiting in again if waiting.failures < TRIES)
        if any(waiting.failures == TRIES for waiting in again):
            text = "Votes are not confirmed, and may be recorded twice. %s"
            self._complaints.warn(
                str(type(error)), text, error, exc_info=not isinstance(error, StoreUnavailable)
            )

    def _end(self) -> None:
        """Send the rest, or wait for the thread to; a fork leaves its parent's to the parent."""
        if self._pid == os.getpid():  # pragma: no branch  # in a fork, coverage ends before
            self._send_all(math.inf)


_outboxes: dict[int, Outbox] = {}
"""By process: a fork has its parent's, which the parent sends, and its own."""


def send_soon(send: Send, confirmation: Confirmation) -> None:
    """Send a confirmation with others, or at once where no thread can be had for that."""
    pid = os.getpid()
    outbox = _outboxes.get(pid) or _outboxes.setdefault(pid, Outbox())
    try:
        outbox.put(send, confirmation)
    except RuntimeError:
        send([confirmation])
