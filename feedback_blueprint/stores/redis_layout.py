"""How messages and votes lie in Redis or Valkey, and the scripts that keep them so.

A message that nobody rated is a string, the smallest thing that Redis keeps. The first vote turns
it into a hash, under the same key and with the same time to live:

    m               the message
    v<rater>        the rater's vote: its revision, a space, the vote
    p<rater>        the attempt that cast it, until that attempt confirms that it was recorded
"""

from __future__ import annotations

import json
from typing import Any

from .base import Message

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
local vote, attempt, limit, instead_of = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local voter
if layout == 1 then voter = ARGV[5]
else
  local owner = message:sub(18, 33)
  for i = 5, #ARGV do if ARGV[i] == owner then voter = owner end end
end
if not voter then return end

local revision, standing = 0, nil
local held = kind == 'hash' and redis.call('HGET', KEYS[1], 'v' .. voter)
if held then
  local space = held:find(' ', 1, true)
  revision, standing = tonumber(held:sub(1, space - 1)), held:sub(space + 1)
end

if standing == vote then
  local pending = redis.call('HGET', KEYS[1], 'p' .. voter)
  if not pending then return 'unchanged ' .. revision .. ' ' .. message end
  if pending ~= attempt and pending ~= instead_of then
    return 'pending ' .. revision .. ' ' .. pending .. message
  end
  redis.call('HSET', KEYS[1], 'p' .. voter, attempt)
  return 'accepted ' .. revision .. ' ' .. message
end
if not standing and vote == 'null' then return 'unchanged 0 ' .. message end
if revision >= limit then return 'too-many ' .. revision .. ' ' .. message end

local fields = {'v' .. voter, (revision + 1) .. ' ' .. vote, 'p' .. voter, attempt}
if kind == 'hash' then redis.call('HSET', KEYS[1], unpack(fields))
else
  local ttl = redis.call('PTTL', KEYS[1])
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'm', message, unpack(fields))
  if ttl >= 0 then redis.call('PEXPIRE', KEYS[1], math.max(ttl, 1)) end
end
return 'accepted ' .. (revision + 1) .. ' ' .. message
"""
)

CONFIRM = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""

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
