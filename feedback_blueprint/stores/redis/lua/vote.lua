-- Casts a vote. KEYS: the message and, if one server keeps both, the outbox.
--
-- ARGV: the vote, the most revisions, the lease in milliseconds ('' for a vote without a mark), for
-- how many milliseconds it can be read and changed, and the rater's hashes. Returns what
-- `unpack_vote_result` takes: one value, because redis-py takes its time for each.

local first, life = 5, tonumber(ARGV[4])
-- include clock
-- include head
-- include standing_vote
-- include message
-- include keep
local vote, limit, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local size_and_voter = ' ' .. #voter .. ' ' .. voter
local function reply(status, revision, at)
  return status .. ' ' .. revision .. ' ' .. at .. size_and_voter .. message
end

local revision, standing, marked, after = 0, nil, nil, found[2] and unpacked(found[2]) or 0
if stored then
  local space = stored:find(' ', 7, true)
  revision, standing = tonumber(stored:sub(7, space - 1)), stored:sub(space + 1)
  after = math.max(after, unpacked(stored))
end
if kind == 'hash' then
  local mark = redis.call('HGET', KEYS[1], 'p' .. voter)
  marked = mark and unpacked(mark)
end

if standing == vote or (not standing and vote == 'null') then
  return reply('unchanged', revision, marked or 0)
end
if revision >= limit and vote ~= 'null' then return reply('too-many', revision, 0) end

local cast = math.max(now, after + 1)
local new_revision, at, mark = tostring(revision + 1), tostring(cast), packed(cast)
keep(ARGV[4], 'v' .. voter, mark .. new_revision .. ' ' .. vote, 'p' .. voter, mark)
if lease == '' then redis.call('HDEL', KEYS[1], 'p' .. voter) end
if KEYS[2] then
  if marked then redis.call('ZREM', KEYS[2], marked .. size_and_voter .. KEYS[1]) end
  redis.call('ZADD', KEYS[2], cast + lease, at .. size_and_voter .. KEYS[1])
end
return reply('accepted', new_revision, at)
