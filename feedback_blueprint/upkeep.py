"""What a process does with each harvest beside its deliveries."""

from __future__ import annotations

from contextlib import suppress

from .agent.harvests import Harvest, Listener
from .errors import StoreUnavailable
from .keys import Keys
from .logs import ThrottledLog
from .raters import Raters
from .stores import Store


class Upkeep(Listener):
    """Removes what has expired, and announces the `SECRET_KEY` of this process.

    Messages that a worker makes under a key of its own are nobody's to the other workers. So each
    process announces a fingerprint of its key, and the log says if there are several.
    """

    def __init__(self, store: Store, keys: Keys, raters: Raters, log: ThrottledLog) -> None:
        self._store = store
        self._keys = keys
        self._raters = raters
        self._log = log
        self._is_announced = not raters.fingerprints

    def harvested(self, _: Harvest) -> None:
        """Do it; the agent calls this."""
        with suppress(StoreUnavailable):  # the delivery says so
            self._store.clean_up()
            if self._is_announced:
                return
            for finding in self._raters.check(self.announce()):
                if not finding.ok:
                    self._log.warn("key", "SECRET_KEY: %s. %s", finding.seen, finding.remedy)
            self._is_announced = True

    def announce(self) -> list[bytes]:
        """Announce the key of this process, and return the fingerprints of all; or do nothing.

        Raises `StoreUnavailable`.
        """
        fingerprints = self._raters.fingerprints
        if not fingerprints:
            return []
        return self._store.announce(self._keys.fingerprints, fingerprints[0])
