"""How messages and votes lie in Redis or Valkey, and the scripts that keep them so.

A message that nobody rated is a string, the smallest thing that Redis keeps. The first vote, or its
text, turns it into a hash, under the same key and with the same time to live:

    m               how the message begins: its trace ID and its owner
    x               what else there is of it, if there is
    c               its text, if that is kept: no vote needs it
    v<rater>        the rater's vote: its revision, a space, the vote
    p<rater>        its mark, until it is delivered: when it was cast, in milliseconds

An outbox is a sorted set with a member for each mark, by the time in milliseconds at which anybody
may take the vote over. All times are by Redis's clock.
"""

from __future__ import annotations

import json
from typing import Any

from .base import Mark, Message

HEAD = """
local kind, head = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then head = redis.call('HGET', KEYS[1], 'm')
elseif kind == 'string' or kind == 'none' then head = redis.call('GETRANGE', KEYS[1], 0, 32) end
local layout = head and head:byte(1)
local size = layout == 1 and 17 or layout == 2 and 33
if layout and layout > 2 and layout < 8 and #head >= 17 then return 'newer' end
if not size or #head < size or (kind == 'hash' and #head > size) then return end
head = head:sub(1, size)
"""
"""Reads how a message begins. Ends if it does not begin as one: it may be another app's key.

Returns `NEWER` for what `is_newer`.
"""

NEWER = b"newer"
"""What scripts return for a message that a later version of ours wrote."""

VOTER = """
local function voter_among(first)
  if layout == 1 then return ARGV[first] end
  local owner = head:sub(18, 33)
  for i = first, #ARGV do if ARGV[i] == owner then return owner end end
end
"""
"""Says under which of the rater's hashes, the last arguments, the caller votes, if at all."""

WHOLE = """
local rest = kind == 'string' and redis.call('GET', KEYS[1]):sub(size + 1)
  or kind == 'hash' and redis.call('HGET', KEYS[1], 'x') or ''
if rest ~= '' then
  local valid, found = pcall(cjson.decode, rest)
  if not valid or type(found) ~= 'table' then return end
  if found.context and type(found.context) ~= 'table' then return end
  if found.trace_id and type(found.trace_id) ~= 'string' then return end
end
local message = head .. rest
"""
"""Reads a message without its text, once it may be seen: what is another's takes no more than none.

Ends if `decode` would find no message, before anything is written.
"""

KEEP = """
local function keep(...)
  if kind == 'hash' then redis.call('HSET', KEYS[1], ...)
  else
    local ttl = redis.call('PTTL', KEYS[1])
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'm', head, ...)
    if rest ~= '' then redis.call('HSETNX', KEYS[1], 'x', rest) end
    if ttl >= 0 then redis.call('PEXPIRE', KEYS[1], math.max(ttl, 1)) end
  end
end
"""
"""Keeps fields with a message, which is a hash from then on."""

STASH = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'm', ARGV[2], 'x', ARGV[3], 'c', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
"""
"""Keeps a message with its text, if there is none. ARGV: milliseconds to live, fields."""

PEEK = HEAD + WHOLE + "return message"
"""Returns a message without its text."""

READ = (
    HEAD
    + VOTER
    + """
local voter = voter_among(1)
if not voter then return end
"""
    + WHOLE
    + """
return {message, kind == 'hash' and redis.call('HGET', KEYS[1], 'v' .. voter)}
"""
)
"""Returns a message without its text, and the caller's vote. ARGV: the hashes of the rater."""

VOTE = (
    HEAD
    + VOTER
    + """
local voter = voter_among(4)
if not voter then return end
"""
    + WHOLE
    + KEEP
    + """
local vote, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local revision, standing, mark = 0, nil, nil
if kind == 'hash' then
  local held = redis.call('HMGET', KEYS[1], 'v' .. voter, 'p' .. voter)
  if held[1] then
    local space = held[1]:find(' ', 1, true)
    revision, standing = tonumber(held[1]:sub(1, space - 1)), held[1]:sub(space + 1)
  end
  mark = held[2] or nil
end

if standing == vote or (not standing and vote == 'null') then
  return 'unchanged ' .. revision .. ' ' .. (mark or 0) .. ' ' .. message
end
if revision >= limit and vote ~= 'null' then return 'too-many ' .. revision .. ' 0 ' .. message end

local time = redis.call('TIME')
local cast = time[1] * 1000 + math.floor(time[2] / 1000)
if mark and cast <= tonumber(mark) then cast = mark + 1 end
local fields = {'v' .. voter, (revision + 1) .. ' ' .. vote}
if lease then fields[3], fields[4] = 'p' .. voter, string.format('%.0f', cast) end
keep(unpack(fields))
if mark and not lease then redis.call('HDEL', KEYS[1], 'p' .. voter) end
if KEYS[2] then
  local member = ' ' .. #voter .. ' ' .. voter .. KEYS[1]
  if mark then redis.call('ZREM', KEYS[2], mark .. member) end
  redis.call('ZADD', KEYS[2], cast + lease, fields[4] .. member)
end
return 'accepted ' .. (revision + 1) .. ' ' .. string.format('%.0f', cast) .. ' ' .. message
"""
)
"""Casts a vote. KEYS: the message and, if one server keeps both, the outbox.

ARGV: the vote, the most revisions, the lease in milliseconds ('' for a vote without a mark), and
the hashes of the rater. Returns the status, the revision, when it was cast and the message.
"""

TAKE = """
local lease, limit, held = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', i < 4 + held and now + lease or now, ARGV[i])
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', now + lease, member) end
return due
"""
"""Takes over what is due. KEYS: an outbox.

ARGV: the lease in milliseconds, how many to take, how many of the members that follow are held,
and have their lease renewed; the others are let go of.
"""

ANNOUNCE = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] - 3600)
redis.call('EXPIRE', KEYS[1], 3600)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
"""Keeps a value for an hour, and returns all that are. KEYS: a sorted set. ARGV: the value."""

UNMARK = """
for i, key in ipairs(KEYS) do
  local name = 'p' .. ARGV[2 * i - 1]
  if redis.pcall('HGET', key, name) == ARGV[2 * i] then redis.call('HDEL', key, name) end
end
"""
"""Takes marks off their votes, if they are still theirs. KEYS: messages; ARGV: voter and mark."""

AMEND = (
    HEAD
    + WHOLE
    + KEEP
    + """
if ARGV[3] then keep('m', ARGV[1], 'x', ARGV[2], 'c', ARGV[3])
elseif kind == 'hash' then keep('m', ARGV[1], 'x', ARGV[2])
else
  local ttl = math.max(redis.call('PTTL', KEYS[1]), 1)
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ttl)
end
"""
)
"""Replaces a message. ARGV: its fields, the text if there is one."""

SIZES = {b"\1": 17, b"\2": 33}
"""Bytes of a message by its layout, without what else there is."""


def encode(message: Message) -> bytes:
    """Pack a message without its text: a byte for the layout, trace ID, owner, what else there is.

    Layout 1 has no owner, layout 2 has one, of 16 bytes as the trace ID. A trace ID that is not 32
    hex digits, as New Relic's own inbound header can make it, goes with the rest.
    """
    rest: dict[str, Any] = {}
    try:
        trace_id = bytes.fromhex(message.trace_id)
    except ValueError:
        trace_id = b""
    if trace_id.hex() != message.trace_id or len(trace_id) != 16:
        trace_id, rest["trace_id"] = bytes(16), message.trace_id
    if message.context:
        rest["context"] = dict(message.context)
    packed = (b"\2" if message.owner else b"\1") + trace_id + message.owner
    return packed + json.dumps(rest, separators=(",", ":")).encode() if rest else packed


def fields_of(message: Message) -> list[bytes]:
    """Return the fields of a message that is a hash, the text if there is one."""
    packed = encode(message)
    size = SIZES[packed[:1]]
    texts = [] if message.content is None else [message.content.encode()]
    return [packed[:size], packed[size:], *texts]


def decode(value: bytes, content: bytes | None = None) -> Message | None:
    """Unpack what `encode` packed, and its text if it is given; `None` for what it did not."""
    end = SIZES.get(value[:1])
    if end is None or len(value) < end:
        return None
    try:
        rest = json.loads(value[end:] or b"{}")
    except ValueError:
        return None
    if not isinstance(rest, dict):
        return None
    context, trace_id = rest.get("context", {}), rest.get("trace_id", value[1:17].hex())
    if not isinstance(context, dict) or not isinstance(trace_id, str):
        return None
    return Message(trace_id, value[17:end], context, None if content is None else content.decode())


def is_newer(head: bytes) -> bool:
    """Whether a value begins as a message of a later version: by a layout that we do not know.

    Layouts are numbered up to 7: 8 and 10 begin protocol buffers, and what is above is text or else
    begins another app's values.
    """
    return len(head) >= 17 and max(SIZES)[0] < head[0] < 8


def member_of(mark: Mark) -> bytes:
    """Return the member of an outbox that stands for a mark, as the vote's script makes it."""
    return b"%d %d %b%b" % (mark.cast_at, len(mark.voter), mark.voter, mark.key.encode())


def mark_of(outbox: str, member: bytes) -> Mark:
    """Return the mark that a member of an outbox stands for."""
    cast, size, rest = member.split(b" ", 2)
    return Mark(outbox, rest[int(size) :].decode(), rest[: int(size)], int(cast))
