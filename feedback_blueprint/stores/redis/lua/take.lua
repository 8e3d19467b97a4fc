-- Takes over the marks whose lease has ended. KEYS: an outbox.
--
-- ARGV: the lease in milliseconds, how many to take, how many of the members that follow to renew, and
-- the members. The lease of the others ends.

local lease, limit, renewed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- include clock
for i = 4, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', i < 4 + renewed and now + lease or now, ARGV[i])
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', now + lease, member) end
return due
