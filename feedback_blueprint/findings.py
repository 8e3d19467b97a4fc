"""What a check of the installation finds."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of `flask feedback check`: what was looked at, whether it is well, what was seen.

    `remedy` says what to do where it is not well.
    """

    what: str
    ok: bool
    seen: str
    remedy: str = ""
