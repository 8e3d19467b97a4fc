"""The work at each harvest that is not delivery: remove what expired, compare secret keys."""

from __future__ import annotations

from contextlib import suppress

from .agent.harvests import Harvest, Listener
from .errors import StoreUnavailable
from .logs import ThrottledLog
from .model import Finding, Keys
from .raters import Raters
from .stores import Store


class Upkeep(Listener):
    """Removes what has expired, and compares the `SECRET_KEY` of all processes.

    If a worker has another key than the others, they do not know whose its messages are. So each
    process announces a fingerprint of its key in the store, and the log says if others differ.
    """

    def __init__(self, store: Store, keys: Keys, raters: Raters, log: ThrottledLog) -> None:
        self._store = store
        self._keys = keys
        self._raters = raters
        self._log = log
        self._has_compared = False

    def harvested(self, _: Harvest) -> None:
        """Do the work; the agent calls this."""
        with suppress(StoreUnavailable):  # the delivery logs it
            self._store.clean_up()
            if self._has_compared:
                return
            for finding in self.compare_keys():
                if not finding.ok:
                    self._log.warn("key", "SECRET_KEY: %s. %s", finding.seen, finding.remedy)
            self._has_compared = True

    def compare_keys(self) -> list[Finding]:
        """Announce the key of this process, if it has one, and compare it with those of others.

        Raises `StoreUnavailable`.
        """
        fingerprints = self._raters.fingerprints
        if not fingerprints:
            return []
        return self._raters.check(self._store.announce(self._keys.fingerprints, fingerprints[0]))
