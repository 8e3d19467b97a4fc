"""The header that tells a frontend the IDs of the messages in a response."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response

from ..logs import ThrottledLog

HEADER = "X-Message-ID"

MAX_IDS = 64
"""IDs in one response: many clients refuse more than 100 headers."""

MAX_BYTES = 4096
"""Bytes of all these header lines: a proxy takes 4 to 8 KB of headers."""


def announce(response: Response, message_ids: Sequence[str], log: ThrottledLog) -> None:
    """Put the IDs into headers, and only the last ones if they are too many for a client."""
    room = MAX_BYTES
    sent: list[str] = []
    for message_id in reversed(message_ids):
        if not (
            message_id.isascii()
            and message_id.isprintable()
            and message_id == message_id.strip()  # HTTP trims a header
            and "," not in message_id  # HTTP joins several headers with commas
        ):
            continue
        room -= len(f"{HEADER}: {message_id}\r\n")
        if room < 0 or len(sent) == MAX_IDS:
            break
        sent.append(message_id)
    for message_id in reversed(sent):
        response.headers.add(HEADER, message_id)
    if sent:
        response.headers.add("Access-Control-Expose-Headers", HEADER)
    if len(sent) < len(message_ids):
        text = (
            f"{HEADER} leaves out %d of the %d messages of a response: it takes the last {MAX_IDS} "
            f"IDs in printable ASCII without commas or outer blanks, in {MAX_BYTES} bytes. "
            "Put their IDs into the body."
        )
        log.warn("header", text, len(message_ids) - len(sent), len(message_ids))
