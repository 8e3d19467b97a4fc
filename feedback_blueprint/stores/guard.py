"""The one place that decides that a store is out, and when to ask it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from ..errors import StoreUnavailable
from ..logs import Complaints
from .base import Ballot, Confirmation, Message, Outcome, Standing, Store
from .outbox import send_soon

WHOLE = ""
"""The part that all keys are in: where it is out, nothing can be reached."""

PATIENCE = 10.0
"""Seconds after which a caller that was trying again is taken for dead."""

PAUSE = 1.0
"""Seconds between two messages that try to reach a store that is out."""


@dataclass
class Outage:
    """A part of the store that could not be reached, since when a caller may be trying again."""

    why: StoreUnavailable
    until: float
    asked_until: float = 0.0


class Guard:
    """A store that is asked no more, for a second at a time, once it could not be reached.

    What cannot be reached costs each caller a timeout or two. After the first, of those who stash
    only one a second pays that: an answer waits behind it. A vote may try at any time, if nobody
    else does, so that it is taken as soon as the store is back. A store that answers, be it with
    an error, is not out.
    """

    def __init__(self, store: Store, complaints: Complaints) -> None:
        self.store = store
        self._complaints = complaints
        self._lock = threading.Lock()
        self._out: dict[str, Outage] = {}

    def stash(self, key: str, message: Message, ttl: timedelta) -> bool:
        """Keep a message."""
        with self._asking(key):
            return self.store.stash(key, message, ttl)

    def amend(self, key: str, message: Message) -> None:
        """Replace a message."""
        with self._asking(key):
            self.store.amend(key, message)

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Cast a vote."""
        with self._asking(key, eager=True):
            return self.store.vote(key, raters, ballot)

    def confirm(self, confirmation: Confirmation) -> None:
        """Confirm a vote, soon."""
        send_soon(self.store.confirm, confirmation)

    def read(self, keys: Sequence[str], raters: Sequence[bytes]) -> list[Standing | None]:
        """Read messages and votes."""
        with self._asking(*keys, eager=True):
            return self.store.read(keys, raters)

    @contextmanager
    def _asking(self, *keys: str, eager: bool = False) -> Generator[None]:
        """Let a call through to the store, or refuse it at once; learn from how it ends."""
        parts = {WHOLE, *(self.store.part_of(key) for key in keys)}
        if self._out:
            self._refuse_while_out(parts, eager)
        try:
            yield
        except StoreUnavailable as error:
            self._complaints.warn(error.remedy, "Feedback cannot be kept. %s", error)
            self._learn(parts, error)
            raise
        if self._out:
            self._learn(parts, None)

    def _refuse_while_out(self, parts: set[str], eager: bool) -> None:
        """Raise for a part that is out; let one caller at a time find out whether it still is."""
        with self._lock:
            now = time.monotonic()
            out = [self._out[part] for part in parts if part in self._out]
            for outage in out:
                if now < outage.asked_until or (not eager and now < outage.until):
                    raise outage.why.again()
            for outage in out:
                outage.asked_until = now + PATIENCE

    def _learn(self, parts: set[str], error: StoreUnavailable | None) -> None:
        with self._lock:
            if error and error.unreachable == "crowded":  # nobody asked, so nothing was learned
                for part in parts & self._out.keys():
                    self._out[part].asked_until = 0.0
                return
            for part in parts:
                self._out.pop(part, None)
            if error and error.unreachable:
                out = parts - {WHOLE} if error.unreachable == "part" else {WHOLE}
                until = time.monotonic() + PAUSE
                self._out |= {part: Outage(error, until) for part in out or {WHOLE}}
