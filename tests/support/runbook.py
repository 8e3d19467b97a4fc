"""What the runbook beside the stores says of the log, and of the check."""

from __future__ import annotations

import re

from documentation import PACKAGE, text_of

RUNBOOK = text_of("stores")

#: Alone in a line, or first in a row: what is quoted of the log, with `...` for what is left out.
LINES = re.findall(r"^(?:\| |   )?`((?!Custom/)[A-Z0-9][^`]+)`(?:$| \|)", RUNBOOK, re.MULTILINE)

#: The names of all metrics, as the code counts and measures them.
METRICS = {
    name
    for path in PACKAGE.rglob("*.py")
    for name in re.findall(
        r"\.(?:count|measure)(?:\(|,)\s*\"(\w+)\"", path.read_text(encoding="utf-8")
    )
}

NUMBER = r"\d+(?:\.\d+)?"


def is_quoted(said: str) -> bool:
    """Whether the runbook has a line of the log, with any numbers in place of its own."""
    return any(re.fullmatch(pattern_of(line), said, re.DOTALL) for line in LINES)


def pattern_of(line: str) -> str:
    """What a line that is quoted stands for."""
    parts = [re.escape(part).replace(r"\.\.\.", ".*") for part in re.split(NUMBER, line)]
    return NUMBER.join(parts)
