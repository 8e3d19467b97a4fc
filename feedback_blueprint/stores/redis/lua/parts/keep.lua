-- Defines what keeps fields with a message for at least `life` milliseconds, and makes it a hash.

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
