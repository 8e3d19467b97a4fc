"""How messages and votes lie in SQLite, and the statements that keep them so."""

from __future__ import annotations

import json
from typing import Any

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
    """
    CREATE TABLE IF NOT EXISTS announced (
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        at REAL NOT NULL, -- seconds since the epoch
        PRIMARY KEY (key, value)
    ) WITHOUT ROWID
    """,
    f"PRAGMA user_version = {VERSION}",
    "COMMIT",
)

FIND_VERSION = """
SELECT user_version, (SELECT count(*) FROM sqlite_master),
    (SELECT count(*) FROM sqlite_master WHERE name IN ('messages', 'votes')) = 2
FROM pragma_user_version
"""
"""With how many tables and indexes there are, and whether those are there that are always ours."""

REMOVE = "DELETE FROM messages WHERE key = ?"

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
SELECT trace_id, owner, context, content, expires FROM messages WHERE key = ? AND expires > ?
"""

LOOK = """
SELECT trace_id, owner, context, revision, vote, cast_at FROM messages
LEFT JOIN votes ON votes.key = messages.key
    AND voter = CASE WHEN owner = x'' THEN :current ELSE owner END
WHERE messages.key = :key AND expires > :now AND (owner = x'' OR owner IN ({raters}))
"""
"""Finds what a rater may see, and no text: of another's message not more than of none."""

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

RENEW = """
WITH marks (key, voter, cast_at) AS (VALUES {marks}) UPDATE votes SET due = ?
WHERE key IN (SELECT key FROM marks) AND (key, voter, cast_at) IN marks AND outbox IS NOT NULL
"""
"""By the key as well: for three columns that no index has all of, SQLite looks at each vote."""

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
WITH marks (key, voter, cast_at) AS (VALUES {marks}) UPDATE votes SET outbox = NULL, due = NULL
WHERE key IN (SELECT key FROM marks) AND (key, voter, cast_at) IN marks
"""

ANNOUNCE = "INSERT OR REPLACE INTO announced VALUES (?, ?, ?)"

FORGET = "DELETE FROM announced WHERE at < ?"

ANNOUNCED = "SELECT value FROM announced WHERE key = ?"

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


def message_of(
    trace_id: str, owner: bytes, context: str | None, content: str | None = None
) -> Message:
    """Return the message that a row holds."""
    return Message(trace_id, owner, json.loads(context) if context else {}, content)
