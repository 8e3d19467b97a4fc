"""What a check of the installation finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["well", "worth changing", "wrong"]
"""How much a finding matters: what is wrong loses or refuses votes, or will."""


class Finding(NamedTuple):
    """One line of `flask feedback check`: what was looked at, whether it is well, what was seen.

    `remedy` says what to do where it is not well. That is wrong then, unless it is `minor`: no vote
    is lost or refused for it.
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
