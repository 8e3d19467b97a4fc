-- Defines what keeps fields with a message for at least `life` milliseconds, and makes it a hash.
--
-- `life` is text: Redis needs a quarter of a microsecond to make text of a number.

local function keep(life, ...)
  local left = redis.call('PTTL', KEYS[1])
  if kind == 'hash' then redis.call('HSET', KEYS[1], ...)
  else
    redis.call('DEL', KEYS[1])
    local beginning = head .. packed(left < 0 and 2 ^ 48 - 1 or now + left)
    if rest == '' then redis.call('HSET', KEYS[1], 'm', beginning, ...)
    else redis.call('HSET', KEYS[1], 'm', beginning, 'x', rest, ...) end -- a later 'x' wins
  end
  if left >= 0 and left < tonumber(life) then redis.call('PEXPIRE', KEYS[1], life)
  elseif left >= 0 and kind ~= 'hash' then redis.call('PEXPIRE', KEYS[1], math.max(left, 1)) end
end
