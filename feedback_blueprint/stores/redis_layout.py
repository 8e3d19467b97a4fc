"""How messages and votes lie in Redis or Valkey, and the scripts that keep them so.

A message that nobody rated is a string, the smallest thing that Redis keeps. The first vote turns
it into a hash, under the same key and with the same time to live:

    m               the message
    v<rater>        the rater's vote: its revision, a space, the vote
    p<rater>        its mark, until it is delivered: when it was cast, in milliseconds

An outbox is a sorted set with a member for each mark, by the time in milliseconds at which anybody
may take the vote over. All times are by Redis's clock.
"""

from __future__ import annotations

import json
from typing import Any

from .base import Mark, Message

FIND = """
local kind, message = redis.call('TYPE', KEYS[1]).ok
if kind == 'string' then message = redis.call('GET', KEYS[1])
elseif kind == 'hash' then message = redis.call('HGET', KEYS[1], 'm') end
local layout = message and message:byte(1)
local size = layout == 1 and 17 or layout == 2 and 33
if not size or #message < size then return end
local rest = message:sub(size + 1, size + 1)
if rest ~= '' and rest ~= '{' then return end
"""
"""Ends where `decode` would find no message: the key may be another app's."""

VOTE = (
    FIND
    + """
local vote, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local voter
if layout == 1 then voter = ARGV[4]
else
  local owner = message:sub(18, 33)
  for i = 4, #ARGV do if ARGV[i] == owner then voter = owner end end
end
if not voter then return end

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
if revision >= limit then return 'too-many ' .. revision .. ' 0 ' .. message end

local time = redis.call('TIME')
local cast = time[1] * 1000 + math.floor(time[2] / 1000)
if mark and cast <= tonumber(mark) then cast = mark + 1 end
local fields = {'v' .. voter, (revision + 1) .. ' ' .. vote}
if lease then fields[3], fields[4] = 'p' .. voter, string.format('%.0f', cast) end
if kind == 'hash' then redis.call('HSET', KEYS[1], unpack(fields))
else
  local ttl = redis.call('PTTL', KEYS[1])
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'm', message, unpack(fields))
  if ttl >= 0 then redis.call('PEXPIRE', KEYS[1], math.max(ttl, 1)) end
end
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

UNMARK = """
for i, key in ipairs(KEYS) do
  local name = 'p' .. ARGV[2 * i - 1]
  if redis.pcall('HGET', key, name) == ARGV[2 * i] then redis.call('HDEL', key, name) end
end
"""
"""Takes marks off their votes, if they are still theirs. KEYS: messages; ARGV: voter and mark."""

AMEND = (
    FIND
    + """
if kind == 'hash' then redis.call('HSET', KEYS[1], 'm', ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', math.max(redis.call('PTTL', KEYS[1]), 1)) end
"""
)

SIZES = {b"\1": 17, b"\2": 33}
"""Bytes of a message by its layout, without what else there is."""


def encode(message: Message) -> bytes:
    """Pack a message: a byte for the layout, 16 of trace ID, 16 of owner, and what else there is.

    Layout 1 has no owner, layout 2 has one. A trace ID that is not 32 hex digits, as New Relic's
    own inbound header can make it, goes with the rest.
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
    if message.content is not None:
        rest["content"] = message.content
    packed = (b"\2" if message.owner else b"\1") + trace_id + message.owner
    return packed + json.dumps(rest, separators=(",", ":")).encode() if rest else packed


def decode(value: bytes) -> Message | None:
    """Unpack what `encode` packed; `None` for what it did not."""
    end = SIZES.get(value[:1])
    if end is None or len(value) < end or value[end : end + 1] not in (b"", b"{"):
        return None
    rest = json.loads(value[end:]) if len(value) > end else {}
    return Message(
        trace_id=rest.get("trace_id", value[1:17].hex()),
        owner=value[17:end],
        context=rest.get("context", {}),
        content=rest.get("content"),
    )


def member_of(mark: Mark) -> bytes:
    """Return the member of an outbox that stands for a mark, as the vote's script makes it."""
    return b"%d %d %b%b" % (mark.cast_at, len(mark.voter), mark.voter, mark.key.encode())


def mark_of(outbox: str, member: bytes) -> Mark:
    """Return the mark that a member of an outbox stands for."""
    cast, size, rest = member.split(b" ", 2)
    return Mark(outbox, rest[int(size) :].decode(), rest[: int(size)], int(cast))
