"""The keys under which the store keeps what belongs to one blueprint."""

from __future__ import annotations

from urllib.parse import quote

OUTBOX = "!outbox:"
"""Begins the name of an outbox. No key of a message has it, because `quote()` leaves no `!`."""

FINGERPRINTS = "!keys:"
"""Begins the key of the fingerprints of the app's secret keys."""

CHECK = "!check"
"""The outbox of the vote that a check casts."""


class Keys:
    """The keys of one blueprint. `blueprint` is its name, or empty for the default one.

    Each key begins with `prefix`. The blueprint's name follows, with a colon after it. If the name
    is empty and the message ID has a colon, the key has the colon all the same: otherwise the ID
    could name a message of another blueprint.
    """

    def __init__(self, prefix: str, blueprint: str) -> None:
        self._prefix = prefix
        self._namespace = f"{quote(blueprint, safe='')}:" if blueprint else ""
        self.beginning = prefix + self._namespace
        self.outboxes = f"{prefix}{OUTBOX}{self._namespace}"
        self.fingerprints = f"{prefix}{FINGERPRINTS}{self._namespace}"
        self.check = prefix + CHECK

    def of(self, message_id: str) -> str:
        """Return the key of a message."""
        namespace = self._namespace or (":" if ":" in message_id else "")
        return self._prefix + namespace + message_id

    def message_id(self, key: str) -> str:
        """Return the ID of the message that has this key."""
        message_id = key.removeprefix(self.beginning)
        return message_id if self._namespace else message_id.removeprefix(":")

    def is_ours(self, key: str) -> bool:
        """Whether a key that starts with `beginning` is the key of a message of this blueprint."""
        rest = key.removeprefix(self._prefix)
        return bool(self._namespace) or rest.startswith(":") or ":" not in rest
