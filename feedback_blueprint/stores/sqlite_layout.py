"""How messages and votes lie in SQLite, and the statements that keep them so."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from .base import Message

VERSION = 1

SCHEMA = (
    "BEGIN IMMEDIATE",
    """
    CREATE TABLE IF NOT EXISTS messages (
        key TEXT PRIMARY KEY,
        expires REAL NOT NULL, -- seconds since the epoch
        trace_id TEXT NOT NULL,
        owner BLOB NOT NULL,
        context TEXT,
        content TEXT
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS messages_expires ON messages (expires)",
    """
    CREATE TABLE IF NOT EXISTS votes (
        key TEXT NOT NULL REFERENCES messages ON DELETE CASCADE,
        voter BLOB NOT NULL,
        revision INTEGER NOT NULL,
        vote BLOB NOT NULL,
        attempt BLOB, -- until the attempt that cast the vote confirms that it was recorded
        PRIMARY KEY (key, voter)
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER IF NOT EXISTS messages_again AFTER UPDATE OF expires ON messages
    BEGIN DELETE FROM votes WHERE key = new.key; END
    """,
    f"PRAGMA user_version = {VERSION}",
    "COMMIT",
)

FIND_VERSION = """
SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version
"""

STASH = """
INSERT INTO messages VALUES (:key, :expires, :trace_id, :owner, :context, :content)
ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, trace_id = excluded.trace_id,
    owner = excluded.owner, context = excluded.context, content = excluded.content
WHERE messages.expires <= :now
"""

CLEAN_UP = """
DELETE FROM messages WHERE key IN (SELECT key FROM messages WHERE expires <= ? LIMIT 100)
"""

AMEND = """
UPDATE messages SET trace_id = :trace_id, owner = :owner, context = :context, content = :content
WHERE key = :key
"""

FIND = """
SELECT trace_id, owner, context, content FROM messages WHERE key = ? AND expires > ?
"""

FIND_VOTE = """
SELECT revision, vote, attempt FROM votes WHERE key = ? AND voter = ?
"""

FIND_VOTES = "SELECT voter, revision, vote, attempt FROM votes WHERE key = ?"

VOTE = """
INSERT INTO votes VALUES (:key, :voter, :revision, :vote, :attempt)
ON CONFLICT (key, voter) DO UPDATE SET revision = excluded.revision, vote = excluded.vote,
    attempt = excluded.attempt
WHERE votes.revision = :seen_revision AND votes.attempt IS :seen_attempt
"""

CONFIRM = """
UPDATE votes SET attempt = NULL WHERE key = ? AND voter = ? AND attempt = ?
"""


def row_of(message: Message) -> dict[str, Any]:
    """Return a message as the parameters of a statement."""
    return {
        "trace_id": message.trace_id,
        "owner": message.owner,
        "context": json.dumps(message.context) if message.context else None,
        "content": message.content,
    }


def message_of(row: tuple[str, bytes, str | None, str | None]) -> Message:
    """Return the message that a row holds."""
    trace_id, owner, context, content = row
    return Message(trace_id, owner, json.loads(context) if context else {}, content)


class Look(NamedTuple):
    """A message as one rater sees it; `pending` is the attempt that is still to be confirmed."""

    message: Message
    voter: bytes
    revision: int = 0
    vote: bytes | None = None
    pending: bytes | None = None
