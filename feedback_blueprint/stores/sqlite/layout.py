"""How messages and votes lie in a SQLite file, and the statements that read and write them."""

from __future__ import annotations

import json
from typing import Any

from ...model import Message
from ..base import OLDEST_AMONG

VERSION = 3

KEEP_MESSAGE = """
BEGIN
    UPDATE messages
    SET rateable = coalesce(rateable, expires), expires = max(expires, new.keeps)
    WHERE key = new.key AND older = new.older;
END
"""

SCHEMA = (
    "BEGIN IMMEDIATE",
    """
    CREATE TABLE IF NOT EXISTS messages (
        key TEXT NOT NULL,
        older INTEGER NOT NULL, -- 0, or a number of its own if another message replaced it
        expires REAL NOT NULL, -- nobody can rate or read it from then on: seconds since the epoch
        rateable REAL, -- nobody new can rate it from then on, if that is another time
        trace_id TEXT NOT NULL,
        owner BLOB NOT NULL,
        context TEXT,
        content TEXT,
        nonce BLOB NOT NULL,
        after INTEGER NOT NULL, -- `cast_at` of the last vote on a message that this one replaced
        PRIMARY KEY (key, older)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS messages_expires ON messages (expires)",
    """
    CREATE TABLE IF NOT EXISTS votes (
        key TEXT NOT NULL,
        older INTEGER NOT NULL,
        voter BLOB NOT NULL,
        revision INTEGER NOT NULL,
        vote BLOB NOT NULL,
        cast_at INTEGER NOT NULL, -- milliseconds since the epoch
        keeps REAL NOT NULL, -- it keeps its message until then: seconds since the epoch
        outbox TEXT, -- the mark, until the vote is delivered
        due REAL, -- from then on anybody may take it over: seconds since the epoch
        PRIMARY KEY (key, older, voter),
        FOREIGN KEY (key, older) REFERENCES messages ON DELETE CASCADE
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS votes_due ON votes (outbox, due) WHERE outbox IS NOT NULL",
    "CREATE TRIGGER IF NOT EXISTS votes_cast AFTER INSERT ON votes " + KEEP_MESSAGE,
    "CREATE TRIGGER IF NOT EXISTS votes_changed AFTER UPDATE OF cast_at ON votes " + KEEP_MESSAGE,
    # Another message replaces this one, which stays with its undelivered votes only.
    """
    CREATE TRIGGER IF NOT EXISTS messages_again AFTER UPDATE OF nonce ON messages BEGIN
        INSERT INTO messages SELECT
            old.key, (SELECT max(older) + 1 FROM messages WHERE key = old.key), old.expires,
            old.rateable, old.trace_id, old.owner, old.context, NULL, old.nonce, 0
        WHERE EXISTS (
            SELECT 1 FROM votes WHERE key = old.key AND older = 0 AND outbox IS NOT NULL
        );
        UPDATE votes SET older = (SELECT max(older) FROM messages WHERE key = old.key)
        WHERE key = old.key AND older = 0 AND outbox IS NOT NULL;
        DELETE FROM votes WHERE key = old.key AND older = 0;
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS votes_delivered AFTER UPDATE OF outbox ON votes
    WHEN new.older AND new.outbox IS NULL BEGIN
        DELETE FROM messages WHERE key = new.key AND older = new.older AND NOT EXISTS (
            SELECT 1 FROM votes WHERE key = new.key AND older = new.older AND outbox IS NOT NULL
        );
    END
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
"""Also counts tables and indexes, and says whether the two are there that all our files have."""

REMOVE = "DELETE FROM messages WHERE key = ?"

STASH = """
INSERT INTO messages
VALUES (:key, 0, :expires, NULL, :trace_id, :owner, :context, :content, :nonce, 0)
ON CONFLICT (key, older) DO UPDATE SET expires = excluded.expires, rateable = NULL,
    trace_id = excluded.trace_id, owner = excluded.owner, context = excluded.context,
    content = excluded.content, nonce = excluded.nonce, after = max(messages.after, coalesce((
        SELECT max(cast_at) FROM votes WHERE votes.key = messages.key AND votes.older = 0
    ), 0))
WHERE messages.expires <= :now
    OR (messages.owner IN ({raters}) AND messages.nonce != excluded.nonce)
"""

MARGIN = 86_400
"""How wrong a host's clock may be, in seconds: what has expired stays that much longer."""

CLEAN_UP = f"""
DELETE FROM messages WHERE (key, older) IN (
    SELECT key, older FROM messages WHERE expires <= ? - {MARGIN} AND NOT EXISTS (
        SELECT 1 FROM votes
        WHERE votes.key = messages.key AND votes.older = messages.older AND outbox IS NOT NULL
    ) LIMIT 100
)
"""  # noqa: S608  # a number of ours
"""Leaves an undelivered vote, so that whoever takes it over can log that it was never delivered."""

FIND_KEYS = "SELECT DISTINCT key FROM messages WHERE key > ? ORDER BY key LIMIT 1000"

FIND_THEIRS = """
SELECT key FROM messages WHERE key BETWEEN :first AND :last AND owner IN ({raters})
UNION SELECT key FROM votes WHERE key BETWEEN :first AND :last AND voter IN ({raters})
"""
"""Finds the keys of a rater's messages and votes."""

FIND_MESSAGES = """
SELECT older, expires, CASE WHEN older THEN 0 ELSE coalesce(rateable, expires) END,
    trace_id, owner, context, nonce, content FROM messages
WHERE key = ? ORDER BY older
"""

FIND_VOTES = """
SELECT older, voter, revision, vote, cast_at, outbox IS NOT NULL FROM votes WHERE key = ?
"""

FORGET_THEIRS = (
    "DELETE FROM messages WHERE key = :key AND owner IN ({raters})",
    "DELETE FROM votes WHERE key = :key AND voter IN ({raters})",
    # A replaced message was there only for its votes.
    """
    DELETE FROM messages WHERE key = :key AND older AND NOT EXISTS (
        SELECT 1 FROM votes WHERE votes.key = messages.key AND votes.older = messages.older
    )
    """,
    # The rater's vote may have kept this one for longer than its own time.
    """
    UPDATE messages SET expires = max(rateable, coalesce(
        (SELECT max(keeps) FROM votes WHERE votes.key = messages.key AND votes.older = 0), 0
    )) WHERE key = :key AND older = 0 AND rateable IS NOT NULL
    """,
)
"""Remove what is a rater's under a key, if one transaction executes them all."""

CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
"""Writes the WAL to the file and empties it; returns 1 if somebody who reads kept it from that."""

AMEND = """
UPDATE messages SET context = :context, content = :content
WHERE key = :key AND older = 0 AND trace_id = :trace_id AND nonce = :nonce
"""

FIND_MESSAGE = """
SELECT trace_id, owner, context, nonce, content FROM messages
WHERE key = ? AND older = 0 AND expires > ?
"""

FIND = """
SELECT trace_id, owner, context, nonce, revision, vote, voter, max(coalesce(cast_at, 0), after)
FROM messages LEFT JOIN votes ON votes.key = messages.key AND votes.older = 0
    AND voter IN ({raters}) AND (owner = x'' OR voter = owner) AND cast_at > :since
WHERE messages.key = :key AND messages.older = 0 AND messages.expires > :now
    AND (owner = x'' OR owner IN ({raters}))
    AND (revision IS NOT NULL OR coalesce(rateable, messages.expires) > :now)
ORDER BY instr(:all, voter) LIMIT 1
"""
"""Finds a message without its text, and the rater's vote, if the rater may see the message.

If the rater has votes under several hashes, which are joined in `:all`, it finds that of the first.
"""

VOTE = """
INSERT INTO votes SELECT key, 0, :voter, :revision, :vote, :cast_at, :keeps, :outbox, :due
FROM messages WHERE key = :key AND older = 0 AND trace_id = :trace_id AND nonce = :nonce
ON CONFLICT (key, older, voter) DO UPDATE SET revision = excluded.revision, vote = excluded.vote,
    cast_at = excluded.cast_at, keeps = excluded.keeps, outbox = excluded.outbox, due = excluded.due
WHERE votes.revision = :revision - 1 OR votes.cast_at <= :since
"""
"""Casts a vote on the message that `FIND` found, if nobody else has changed the vote meanwhile."""

MARKS_PER_STATEMENT = 100
"""SQLite takes at least 999 parameters, and a mark has three."""

RENEW = """
WITH marks (key, voter, cast_at) AS (VALUES {marks}) UPDATE votes SET due = ?
WHERE key IN (SELECT key FROM marks) AND (key, voter, cast_at) IN marks AND outbox IS NOT NULL
"""
"""Compares the key as well: no index has all three columns, and SQLite would read every vote."""

TAKE = """
UPDATE votes SET due = :until WHERE (key, older, voter) IN (
    SELECT key, older, voter FROM votes
    WHERE outbox = :outbox AND due <= :now ORDER BY due LIMIT :limit
)
"""

TAKEN = """
SELECT key, voter, cast_at, revision, vote, trace_id, owner, context, nonce, expires
FROM votes JOIN messages USING (key, older) WHERE outbox = ? AND due = ?
"""

UNMARK = """
WITH marks (key, voter, cast_at) AS (VALUES {marks}) UPDATE votes SET outbox = NULL, due = NULL
WHERE key IN (SELECT key FROM marks) AND (key, voter, cast_at) IN marks
"""

ANNOUNCE = "INSERT OR REPLACE INTO announced VALUES (?, ?, ?)"

FORGET_ANNOUNCED = "DELETE FROM announced WHERE at < ?"

ANNOUNCED = "SELECT value FROM announced WHERE key = ?"

BACKLOG = f"""
SELECT count(*), (SELECT min(cast_at) FROM (
    SELECT cast_at FROM votes WHERE outbox = ?1 ORDER BY due LIMIT {OLDEST_AMONG}
)) FROM votes WHERE outbox = ?1
"""  # noqa: S608  # a number of ours


def row_of(message: Message) -> dict[str, Any]:
    """Return a message as the parameters of a statement."""
    return {
        "trace_id": message.trace_id,
        "owner": message.owner,
        "context": json.dumps(message.context) if message.context else None,
        "content": message.content,
        "nonce": message.nonce,
    }


def message_of(
    trace_id: str, owner: bytes, context: str | None, nonce: bytes, content: str | None = None
) -> Message:
    """Return the message that a row holds."""
    return Message(trace_id, owner, json.loads(context) if context else {}, content, nonce)
