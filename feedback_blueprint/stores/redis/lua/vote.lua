-- Casts a vote. KEYS: the message and, if one server keeps both, the outbox.
--
-- ARGV: the vote, the most revisions, the lease in milliseconds ('' for a vote without a mark), for
-- how many it can be read and changed, and the hashes of the rater. Returns what
-- `unpack_vote_result` takes: one value, as redis-py takes its time for each.

local first, life = 5, tonumber(ARGV[4])
-- include clock
-- include found
-- include voter
-- include whole
-- include keep
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
