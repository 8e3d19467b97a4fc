"""How messages and votes lie in Redis or Valkey, and the scripts that keep them so.

A message that nobody rated is a string, the smallest thing that Redis keeps: how it begins, and
what else there is of it. The first vote, or its text, turns it into a hash under the same key:

    m               how the message begins, and until when it can be rated by anyone new
    x               what else there is of it, if there is
    c               its text, if that is kept: no vote needs it
    v<rater>        the rater's vote: when it was cast, its revision, a space, the vote
    p<rater>        its mark, until it is delivered: when it was cast
    f               of a message that took another's place: when the last vote on that was cast
    o<time><rater>  of one that did so, a vote on the other that is not yet delivered: bytes of that
                    message, the message, revision, a space, vote

A time is of 6 bytes, in milliseconds, and by Redis's clock. An outbox is a sorted set with a member
for each mark, by the time in milliseconds at which anybody may take the vote over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .base import Kept, KeptVote, Mark, Message

CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function packed(time) return struct.pack('>I6', time) end
local function unpacked(time) return (struct.unpack('>I6', time)) end
"""

FOUND = """
local kind, found = redis.call('TYPE', KEYS[1]).ok, {}
if kind == 'hash' then
  local names = {'m'}
  for i = first, #ARGV do names[#names + 1] = 'v' .. ARGV[i] end
  found = redis.call('HMGET', KEYS[1], unpack(names))
elseif kind == 'string' or kind == 'none' then
  found = {redis.call('GETRANGE', KEYS[1], 0, 40)}
end
local head = found[1]
local layout = head and head:byte(1)
local size = layout and ({17, 33, 25, 41})[layout]
if layout and layout > 4 and layout < 8 and #head >= 17 then return 'newer' end
if not size or #head < size or (kind == 'hash' and #head ~= size + 6) then return end
local until_when = kind == 'hash' and unpacked(head:sub(size + 1))
head = head:sub(1, size)
local owner = (layout == 2 or layout == 4) and head:sub(18, 33)
"""
"""Reads how a message begins, and the votes of the rater whose hashes are the arguments from
`first` on. Ends if it does not begin as one: it may be another app's key.

Returns `NEWER` for what `is_newer`.
"""

NEWER = b"newer"
"""What scripts return for a message that a later version of ours wrote."""

VOTER = """
local voter, held
for i = first, #ARGV do
  if not held and (not owner or ARGV[i] == owner) then
    held = found[i - first + 2]
    held = held and unpacked(held) + life > now and held
    if held or not voter then voter = ARGV[i] end
  end
end
if not voter then return end
if until_when and until_when <= now and not held then return end
"""
"""Says under which of the rater's hashes the caller votes, and finds the vote that is held.

That is the owner's or, of a message that is anybody's, the first that has a vote, else the first.

Ends if the message is another's, or can no longer be rated by who has no vote of the last `life`
milliseconds.
"""

WHOLE = """
local rest = kind == 'string' and redis.call('GET', KEYS[1]):sub(size + 1)
  or kind == 'hash' and redis.call('HGET', KEYS[1], 'x') or ''
local facts = {}
if rest ~= '' then
  local valid
  valid, facts = pcall(cjson.decode, rest)
  if not valid or type(facts) ~= 'table' then return end
  if facts.context and type(facts.context) ~= 'table' then return end
  if facts.trace_id and type(facts.trace_id) ~= 'string' then return end
end
local message = head .. rest
"""
"""Reads a message without its text, once it may be seen: what is another's takes no more than none.

Ends if `decode` would find no message, before anything is written.
"""

KEEP = """
local function keep(life, ...)
  local left = redis.call('PTTL', KEYS[1])
  if kind ~= 'hash' then
    redis.call('DEL', KEYS[1])
    local rateable = left < 0 and 2 ^ 48 - 1 or now + left
    redis.call('HSET', KEYS[1], 'm', head .. packed(rateable), ...)
    if rest ~= '' then redis.call('HSETNX', KEYS[1], 'x', rest) end
  else redis.call('HSET', KEYS[1], ...) end
  if left >= 0 and (kind ~= 'hash' or left < life) then
    redis.call('PEXPIRE', KEYS[1], math.max(left, life, 1))
  end
end
"""
"""Keeps fields with a message, which is a hash from then on, for `life` milliseconds at least."""

STASH = (
    CLOCK
    + """
local life, first = tonumber(ARGV[1]), #ARGV + 1
local function stash(after)
  if ARGV[4] == '' and not after then
    redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'PX', ARGV[1])
    return 1
  end
  redis.call('HSET', KEYS[1], 'm', ARGV[2] .. packed(now + ARGV[1]))
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'x', ARGV[3]) end
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'c', ARGV[5]) end
  if after then redis.call('HSET', KEYS[1], 'f', packed(after)) end
  redis.call('PEXPIRE', KEYS[1], life)
  return 1
end

if redis.call('EXISTS', KEYS[1]) == 0 then return stash() end
"""
    + FOUND
    + WHOLE
    + """
if layout > 2 and head == ARGV[2] then return 1 end
local is_raters = false
for i = 6, #ARGV do is_raters = is_raters or ARGV[i] == (owner or '') end
if not is_raters then return end

local names, left = {}, redis.call('PTTL', KEYS[1])
if kind == 'hash' then names = redis.call('HKEYS', KEYS[1]) else redis.call('DEL', KEYS[1]) end
local after
for _, name in ipairs(names) do
  local what, of = name:sub(1, 1), name:sub(2)
  if what == 'v' or what == 'f' then
    local value = redis.call('HGET', KEYS[1], name)
    after = math.max(unpacked(value), after or 0)
    if what == 'v' and redis.call('HEXISTS', KEYS[1], 'p' .. of) == 1 then
      local vote = struct.pack('>I4', #message) .. message .. value:sub(7)
      redis.call('HSET', KEYS[1], 'o' .. value:sub(1, 6) .. of, vote)
    end
  end
  if what == 'p' or what == 'o' then life = math.max(life, left) end
end
for _, name in ipairs(names) do
  if name:sub(1, 1) ~= 'o' then redis.call('HDEL', KEYS[1], name) end
end
return stash(after)
"""
)
"""Keeps a message, if there is none, or one of a rater who may have it replaced.

ARGV: milliseconds to live, how it begins, what else there is, 'c' and the text or two empty ones,
and the hashes of the rater. Returns 1 if it is kept, or is already. What a vote on the older one
needs that is not yet delivered stays as long as that would have. Votes on those before that are not
read or written: a client can have many of them wait.
"""

PEEK = "local first = 1" + CLOCK + FOUND + WHOLE + "return message"
"""Returns a message without its text."""

READ = (
    "local first, life = 2, tonumber(ARGV[1])"
    + CLOCK
    + FOUND
    + VOTER
    + WHOLE
    + "return {message, held and held:sub(7) or false, voter}"
)
"""Returns a message without its text, the caller's vote, and under which hash that is kept.

ARGV: for how many milliseconds a vote can be read, and the hashes of the rater.
"""

VOTE = (
    "local first, life = 5, tonumber(ARGV[4])"
    + CLOCK
    + FOUND
    + VOTER
    + WHOLE
    + KEEP
    + """
local vote, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function reply(status, revision, at)
  return table.concat({status, revision, at, #voter, voter .. message}, ' ')
end

local revision, standing, mark, after = 0, nil, nil, 0
if held then
  local space = held:find(' ', 7, true)
  revision, standing, after = tonumber(held:sub(7, space - 1)), held:sub(space + 1), unpacked(held)
end
if kind == 'hash' then
  local beside = redis.call('HMGET', KEYS[1], 'p' .. voter, 'f')
  mark = beside[1] and string.format('%.0f', unpacked(beside[1]))
  if beside[2] then after = math.max(after, unpacked(beside[2])) end
end

if standing == vote or (not standing and vote == 'null') then
  return reply('unchanged', revision, mark or '0')
end
if revision >= limit and vote ~= 'null' then return reply('too-many', revision, '0') end

local cast = math.max(now, after + 1)
local fields = {'v' .. voter, packed(cast) .. (revision + 1) .. ' ' .. vote}
if lease then fields[3], fields[4] = 'p' .. voter, packed(cast) end
keep(life, unpack(fields))
if mark and not lease then redis.call('HDEL', KEYS[1], 'p' .. voter) end
local at = string.format('%.0f', cast)
if KEYS[2] then
  local member = ' ' .. #voter .. ' ' .. voter .. KEYS[1]
  if mark then redis.call('ZREM', KEYS[2], mark .. member) end
  redis.call('ZADD', KEYS[2], cast + lease, at .. member)
end
return reply('accepted', revision + 1, at)
"""
)
"""Casts a vote. KEYS: the message and, if one server keeps both, the outbox.

ARGV: the vote, the most revisions, the lease in milliseconds ('' for a vote without a mark), for
how many it can be read and changed, and the hashes of the rater. Returns what `unpack_outcome`
takes: one value, as redis-py takes its time for each.
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
  local voter, cast = ARGV[2 * i - 1], ARGV[2 * i]
  if redis.pcall('HGET', key, 'p' .. voter) == cast then redis.call('HDEL', key, 'p' .. voter)
  else redis.pcall('HDEL', key, 'o' .. cast .. voter) end
end
"""
"""Takes marks off their votes, if they are still theirs. KEYS: messages; ARGV: voter and time."""

AMEND = (
    "local first = #ARGV + 1"
    + CLOCK
    + FOUND
    + WHOLE
    + KEEP
    + """
local new = ARGV[2] ~= '' and cjson.decode(ARGV[2]) or {}
if head ~= ARGV[1] or facts.trace_id ~= new.trace_id then return end
if ARGV[3] then keep(0, 'x', ARGV[2], 'c', ARGV[3])
elseif kind == 'hash' then keep(0, 'x', ARGV[2])
else redis.call('SET', KEYS[1], head .. ARGV[2], 'KEEPTTL')
end
"""
)
"""Replaces what else there is of a message, if it is still the same one. ARGV: as `parts_of`."""

THEIRS = """
local is_whole = #ARGV == 0
for i = 1, #ARGV do is_whole = is_whole or ARGV[i] == owner end
local has_some = is_whole
for i = 1, #ARGV do has_some = has_some or found[i + 1] end
if not has_some and (kind ~= 'hash' or redis.call('HEXISTS', KEYS[1], 'f') == 0) then return end
"""
"""Ends if nothing is the rater's, whose hashes are the arguments, none of which mean everybody."""

OF_RATER = (
    "local first = 1"
    + CLOCK
    + FOUND
    + THEIRS
    + WHOLE
    + """
local function is_theirs(voter)
  for i = 1, #ARGV do if ARGV[i] == voter then return true end end
  return is_whole
end
local kept, names, marks, others = {'m', head, 'x', rest}, {}, {}, false
local fields = kind == 'hash' and redis.call('HGETALL', KEYS[1]) or {}
for i = 1, #fields, 2 do
  local name, value, what = fields[i], fields[i + 1], fields[i]:sub(1, 1)
  local voter = (what == 'v' or what == 'p') and name:sub(2) or what == 'o' and name:sub(8)
  if voter and is_theirs(voter) then
    names[#names + 1] = name
    local cast = what == 'p' and value or what == 'o' and name:sub(2, 7)
    if cast then
      local at = string.format('%.0f', unpacked(cast))
      marks[#marks + 1] = at .. ' ' .. #voter .. ' ' .. voter .. KEYS[1]
    end
  elseif voter then others = true
  end
  if (voter and is_theirs(voter)) or (what == 'c' and is_whole) then
    kept[#kept + 1] = name
    kept[#kept + 1] = value
  end
end
if not is_whole and #names == 0 then return end
local left = redis.call('PTTL', KEYS[1])
local reply = {is_whole and 1 or 0, left, kept}
"""
)

KEPT = OF_RATER + "return reply"
"""Finds what is kept of a rater. KEYS: the message; ARGV: the rater's hashes.

Returns whether all of it is the rater's, the milliseconds that are left, and fields: how the
message begins, what else there is, its text if it is theirs, votes and marks.
"""

FORGET = (
    OF_RATER
    + """
if is_whole then redis.call('DEL', KEYS[1])
else
  for i = 1, #names, 1000 do
    redis.call('HDEL', KEYS[1], unpack(names, i, math.min(i + 999, #names)))
  end
  if not others and left >= 0 and until_when < now + left then
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', until_when))
  end
end
for i = 2, #KEYS do
  for _, member in ipairs(marks) do redis.call('ZREM', KEYS[i], member) end
end
return reply
"""
)
"""Removes what `KEPT` finds. KEYS: the message, and the outboxes on the same server.

A message that no vote keeps any more goes when it would have gone without one.
"""

TIME = 6
"""Bytes of a time."""

SIZES = {b"\1": 17, b"\2": 33, b"\3": 25, b"\4": 41}
"""Bytes of how a message begins, by its layout."""


def encode(message: Message) -> bytes:
    """Pack a message without its text: how it begins, and what else there is."""
    return b"".join(parts_of(message)[:2])


def parts_of(message: Message) -> list[bytes]:
    """Return how a message begins, what else there is, and its text if there is one.

    It begins with a byte for the layout, the trace ID, the owner if it has one, of 16 bytes, and
    the nonce if it has one, of 8. A trace ID that is not 32 hex digits, as New Relic's own inbound
    header can make it, goes with the rest.
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
    layout = 1 + bool(message.owner) + 2 * bool(message.nonce)
    head = bytes([layout]) + trace_id + message.owner + message.nonce
    texts = [] if message.content is None else [message.content.encode()]
    return [head, json.dumps(rest, separators=(",", ":")).encode() if rest else b"", *texts]


def decode(value: bytes, content: bytes | None = None) -> Message | None:
    """Unpack what `encode` packed, and its text if it is given; `None` for what it did not."""
    end = SIZES.get(value[:1])
    if end is None or len(value) < end:
        return None
    try:
        rest = json.loads(value[end:]) if len(value) > end else {}
    except ValueError:
        return None
    if not isinstance(rest, dict):
        return None
    context, trace_id = rest.get("context", {}), rest.get("trace_id", value[1:17].hex())
    if not isinstance(context, dict) or not isinstance(trace_id, str):
        return None
    nonce_at = end - 8 if value[0] > 2 else end
    text = None if content is None else content.decode()
    return Message(trace_id, value[17:nonce_at], context, text, value[nonce_at:end])


def pack_time(milliseconds: int) -> bytes:
    """Pack a time as the scripts do."""
    return milliseconds.to_bytes(TIME, "big")


def unpack_time(packed: bytes) -> int:
    """Return the time that `packed` begins with, in milliseconds."""
    return int.from_bytes(packed[:TIME], "big")


def unpack_vote(held: bytes) -> tuple[int, bytes]:
    """Return the revision and the vote of what is held, after its time."""
    revision, vote = held.split(b" ", 1)
    return int(revision), vote


def unpack_outcome(reply: bytes) -> tuple[str, int, int, bytes, Message | None]:
    """Return what became of a vote: status, revision, when it was cast, under which hash, on what.

    A time of 0 is none. Raises `ValueError` for what `VOTE` did not return.
    """
    status, revision, cast_at, size, rest = reply.split(b" ", 4)
    voter, message = rest[: int(size)], rest[int(size) :]
    return status.decode(), int(revision), int(cast_at), voter, decode(message)


def unpack_older(kept: bytes) -> tuple[Message | None, int, bytes]:
    """Return a message that another took the place of, with the revision and the vote on it."""
    end = 4 + int.from_bytes(kept[:4], "big")
    return decode(kept[4:end]), *unpack_vote(kept[end:])


def unpack_kept(key: str, reply: tuple[int, int, Sequence[bytes]], now: float) -> list[Kept]:
    """Return what `KEPT` found, with the messages that were replaced after the one in their place.

    `now` is in seconds since the epoch.
    """
    is_whole, left, pairs = reply
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    until = now + left / 1000
    votes, replaced = [], []
    for name, value in fields.items():
        if name.startswith(b"v"):
            vote = *unpack_vote(value[TIME:]), unpack_time(value), b"p" + name[1:] in fields
            votes.append(KeptVote(name[1:], *vote))
        elif name.startswith(b"o"):
            older, revision, packed = unpack_older(value)
            of = KeptVote(name[1 + TIME :], revision, packed, unpack_time(name[1:]), True)
            replaced += [Kept(key, older, until, [of])] if older else []
    message = decode(fields[b"m"] + fields[b"x"], fields.get(b"c"))
    standing = [Kept(key, message, until, votes)] if message and (is_whole or votes) else []
    return standing + replaced


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
