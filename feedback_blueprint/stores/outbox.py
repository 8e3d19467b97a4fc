"""Confirmations of votes, which wait for each other a moment: no request sends its own."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from ..logs import Complaints
from .base import Confirmation

MOMENT = 0.05
"""Seconds from a confirmation until it is sent, with those since: nobody clicks so fast."""

Send = Callable[[Sequence[Confirmation]], None]


class Outbox:
    """What one process is to send, and the thread that sends it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._waiting: deque[tuple[Send, Confirmation]] = deque()
        self._filled = threading.Event()
        self._sending = threading.Lock()
        self._complaints = Complaints()
        threading.Thread(target=self._run, name="feedback-outbox", daemon=True).start()
        atexit.register(self._end)

    def put(self, send: Send, confirmation: Confirmation) -> None:
        """Leave a confirmation to be sent with `send`, and do not wait."""
        self._waiting.append((send, confirmation))
        self._filled.set()

    def _run(self) -> None:
        while self._filled.wait():
            time.sleep(MOMENT)
            self._filled.clear()
            self._send_all()

    def _send_all(self) -> None:
        with self._sending:
            batches: dict[Send, list[Confirmation]] = defaultdict(list)
            while self._waiting:
                send, confirmation = self._waiting.popleft()
                batches[send].append(confirmation)
            for send, confirmations in batches.items():
                with self._complaints.quietly(
                    "Votes that are not confirmed may be recorded twice."
                ):
                    send(confirmations)

    def _end(self) -> None:
        """Send the rest, or wait for the thread to; a fork has the parent's outbox, and its own."""
        if self.pid == os.getpid():
            self._send_all()


_outbox: Outbox | None = None
"""This process's, or that of the process it was forked from."""


def send_soon(send: Send, confirmation: Confirmation) -> None:
    """Send a confirmation with others, or at once where no thread can be had for that."""
    global _outbox
    if _outbox is None or _outbox.pid != os.getpid():
        try:
            _outbox = Outbox()
        except RuntimeError:
            send([confirmation])
            return
    _outbox.put(send, confirmation)
