"""One line of what `flask feedback check` finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["well", "worth changing", "wrong"]
"""How much a finding matters. If something is wrong, votes are lost or refused, now or later."""


class Finding(NamedTuple):
    """One thing that was checked: `what` it is, whether it is `ok`, and what was `seen`.

    `remedy` says what to do if it is not `ok`. It is `minor` if no vote is lost or refused.
    """

    what: str
    ok: bool
    seen: str
    remedy: str = ""
    minor: bool = False

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        if self.ok:
            return "well"
        return "worth changing" if self.minor else "wrong"
