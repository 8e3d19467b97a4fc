"""Under which keys of the store one blueprint keeps its messages, and all else of its own."""

from __future__ import annotations

from urllib.parse import quote

OUTBOX = "!outbox:"
"""Before the name of an outbox: no key of a message begins so, as `quote()` leaves no `!`."""

FINGERPRINTS = "!keys:"
"""Before the name of what keeps fingerprints of the app's secret keys."""

CHECK = "!check"
"""The outbox of the vote that a check casts."""


class Keys:
    """The keys of one blueprint: `blueprint` is its name, empty for the default one.

    `prefix` comes before each key. A key has the blueprint's name before a colon, unless that is
    empty: an ID with a colon must not pass for a message of another blueprint.
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
        """Whether a key that begins with our `beginning` is one of this blueprint's messages."""
        rest = key.removeprefix(self._prefix)
        return bool(self._namespace) or rest.startswith(":") or ":" not in rest
