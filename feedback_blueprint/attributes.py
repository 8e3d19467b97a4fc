"""What can be an attribute of an event, and what can be a message ID."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from typing import Any, TypeGuard
from uuid import UUID

MAX_VALUE_BYTES = 255
"""Bytes of one value: the agent's default `custom_insights_events.max_attribute_value`."""

MAX_COMMENT_BYTES = 4095
"""Bytes of a comment: the highest possible `custom_insights_events.max_attribute_value`."""

MAX_ENTRIES = 16
"""Entries of metadata, and of context.

With both, our own, the longest comment in pieces and the agent's two, an event has at most 60.
"""

MAX_ATTRIBUTES = 64
"""Attributes of one custom event that New Relic documents for agents."""

MIN_INT, MAX_INT = -(2**63), 2**63 - 1

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

RESERVED = re.compile(
    # ours
    r"trace_id|rating|category|message|message_\d+|message_id|feedback_id|revision|score|retracted"
    # New Relic's
    r"|id|timestamp|type|ingest_source|eventType|accountId|appId|appName|entityGuid|host"
    r"|realAgentId|nr\..*"
)

RESERVED_NAME = "Name: reserved for an attribute of the event."


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer; a boolean is not one here."""
    return isinstance(value, int) and not isinstance(value, bool)


def without_enum(value: object) -> Any:
    """Return the text or integer that an enum member is; any other value as it is."""
    if isinstance(value, str):
        return str.__str__(value)  # str() may return the member's name
    if is_integer(value):
        return int(value)
    return value


def text_problem(value: object, max_bytes: int, *, blank: bool = False) -> str | None:
    """Say why `value` is not text of at most `max_bytes` of UTF-8; `None` if it is."""
    if not isinstance(value, str):
        return "Not a valid string."
    if not blank and not value.strip():
        return "Must not be blank."
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "Contains half of a surrogate pair, which is not valid text."
    return f"Longer than {max_bytes} bytes in UTF-8." if size > max_bytes else None


def number_problem(value: float) -> str | None:
    """Say why a number cannot be sent; `None` if it can."""
    if isinstance(value, float):
        return None if math.isfinite(value) else "Not a finite number."
    return None if MIN_INT <= value <= MAX_INT else "Does not fit in 64 bits."


def rating_problem(value: object) -> str | None:
    """Say why `value` is neither a label nor a 64-bit integer; `None` if it is one."""
    if is_integer(value):
        return number_problem(value)
    if isinstance(value, str):
        return text_problem(value, MAX_VALUE_BYTES)
    return "Use a string or an integer."


def attribute_problem(name: object, value: object) -> str | None:
    """Say why an entry of metadata or context cannot be on an event; `None` if it can."""
    if problem := text_problem(name, MAX_VALUE_BYTES):
        return f"Name: {problem}"
    name = str(without_enum(name))
    if not NAME.fullmatch(name):
        return "Name: use letters, digits, _ and . and begin with a letter or _."
    if RESERVED.fullmatch(name):
        return RESERVED_NAME
    if isinstance(value, (int, float)):  # a boolean is an int
        return number_problem(value)
    if isinstance(value, str):
        return text_problem(value, MAX_VALUE_BYTES, blank=True)
    return "Use a string, a number or a boolean."


def validate_entries(entries: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the entries that an event can carry, and the problem of each other one by its name."""
    valid: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, value in entries.items():
        problem = attribute_problem(name, value)
        if problem is None and len(valid) == MAX_ENTRIES:
            problem = f"Over {MAX_ENTRIES} entries: leave some out."
        if problem:
            problems[name] = problem
        else:
            valid[name] = value
    return valid, problems


def new_message_id() -> str:
    """Make a message ID that nobody can guess: 128 random bits in 22 characters, fit for URLs."""
    return secrets.token_urlsafe(16)


def message_id_text(value: object) -> str:
    """Return a message ID as text; raises `ValueError` with the reason if it cannot be one."""
    value = without_enum(value)
    if isinstance(value, UUID) or is_integer(value):
        value = str(value)
    if problem := text_problem(value, MAX_VALUE_BYTES):
        raise ValueError(problem)
    return str(value)


def split_text(text: str, max_bytes: int) -> list[str]:
    """Cut text between characters into pieces of at most `max_bytes`, which must be at least 4."""
    pieces, rest = [], text.encode()
    while rest:
        piece = rest[:max_bytes].decode(errors="ignore")
        pieces.append(piece)
        rest = rest[len(piece.encode()) :]
    return pieces
