"""The work at harvests that is not delivery.

Each harvest removes what has expired. The first of a process also compares secret keys.
"""

from __future__ import annotations

from contextlib import suppress

from .agent.harvests import Harvest, Listener
from .errors import StoreUnavailable
from .logs import ThrottledLog
from .model import Finding, Keys
from .raters import Raters
from .stores import Store


class Upkeep(Listener):
    """Removes what has expired, and compares the `SECRET_KEY` of this process with that of others.

    If a worker has another key than the others, they do not know whose its messages are. So each
    process announces a fingerprint of its key in the store once. The log says if it differs from
    those that others announced within the last hour.
    """

    def __init__(self, store: Store, keys: Keys, raters: Raters, log: ThrottledLog) -> None:
        self._store = store
        self._keys = keys
        self._raters = raters
        self._log = log
        self._has_compared = False

    def harvested(self, _: Harvest) -> None:
        """Do the work; the agent calls this."""
        with suppress(StoreUnavailable):  # the next harvest tries again
            self._store.clean_up()
            if self._has_compared:
                return
            for finding in self.compare_keys():
                if not finding.ok:
                    self._log.warn("key", "SECRET_KEY: %s. %s", finding.seen, finding.remedy)
            self._has_compared = True

    def compare_keys(self) -> list[Finding]:
        """Announce a fingerprint of this process's key, and compare it with those of others.

        Without a rater there is no key, and nothing to do. Raises `StoreUnavailable`.
        """
        fingerprints = self._raters.fingerprints
        if not fingerprints:
            return []
        return self._raters.check(self._store.announce(self._keys.fingerprints, fingerprints[0]))
