-- Takes over what is due. KEYS: an outbox.
--
-- ARGV: the lease in milliseconds, how many to take, how many of the members that follow are held,
-- and have their lease renewed; the others are let go of.

local lease, limit, held = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', i < 4 + held and now + lease or now, ARGV[i])
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', now + lease, member) end
return due
