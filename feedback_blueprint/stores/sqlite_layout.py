"""How messages and votes lie in SQLite, and the statements that keep them so."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from .base import Message

VERSION = 2

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
        cast_at INTEGER NOT NULL, -- when, in milliseconds since the epoch
        outbox TEXT, -- the mark, until the vote is delivered
        due REAL, -- when anybody may take it over, in seconds since the epoch
        PRIMARY KEY (key, voter)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS votes_due ON votes (outbox, due) WHERE outbox IS NOT NULL",
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
DELETE FROM messages WHERE key IN (
    SELECT key FROM messages WHERE expires <= ? AND NOT EXISTS (
        SELECT 1 FROM votes WHERE votes.key = messages.key AND outbox IS NOT NULL
    ) LIMIT 100
)
"""
"""Leaves a vote that was never delivered to whoever takes it over, and says so in the log."""

AMEND = """
UPDATE messages SET trace_id = :trace_id, owner = :owner, context = :context, content = :content
WHERE key = :key
"""

FIND = """
SELECT trace_id, owner, context, content FROM messages WHERE key = ? AND expires > ?
"""

FIND_VOTE = """
SELECT revision, vote, cast_at FROM votes WHERE key = ? AND voter = ?
"""

FIND_VOTES = """
SELECT voter, revision, vote, CASE WHEN outbox IS NOT NULL THEN cast_at END FROM votes WHERE key = ?
"""

VOTE = """
INSERT INTO votes VALUES (:key, :voter, :revision, :vote, :cast_at, :outbox, :due)
ON CONFLICT (key, voter) DO UPDATE SET revision = excluded.revision, vote = excluded.vote,
    cast_at = excluded.cast_at, outbox = excluded.outbox, due = excluded.due
WHERE votes.revision = :revision - 1
"""

MARKS = 100
"""Marks in one statement: SQLite takes at least 999 parameters."""

MARKED = """
(key, voter) IN (
    WITH marks (key, voter, cast_at) AS (VALUES {marks})
    SELECT key, voter FROM marks JOIN votes USING (key, voter, cast_at)
)
"""
"""Finds each vote by its key: with all three compared, SQLite would read the whole table."""

RENEW = """
UPDATE votes SET due = ? WHERE {marked}
"""

TAKE = """
UPDATE votes SET due = :until WHERE (key, voter) IN (
    SELECT key, voter FROM votes WHERE outbox = :outbox AND due <= :now ORDER BY due LIMIT :limit
)
"""

TAKEN = """
SELECT votes.key, voter, cast_at, revision, vote, trace_id, owner, context, expires
FROM votes JOIN messages USING (key) WHERE outbox = ? AND due = ?
"""

UNMARK = """
UPDATE votes SET outbox = NULL WHERE {marked}
"""

BACKLOG = """
SELECT count(*), min(cast_at) FROM votes WHERE outbox = ?
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
    """A message as one rater sees it; `cast_at` is when the rater's vote on it was."""

    message: Message
    voter: bytes
    revision: int = 0
    vote: bytes | None = None
    cast_at: int = 0
