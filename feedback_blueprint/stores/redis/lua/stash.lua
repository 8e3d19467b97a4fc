-- Keeps a message, if there is none under its key, or one that the rater may replace.
--
-- ARGV: milliseconds to live, the head of the message, the rest of it, 'c' and the text or two empty
-- strings, and the rater's hashes. Returns 1 if the message is kept, now or before. If a vote on the
-- replaced message is not yet delivered, what it needs stays as long as that message would have. The
-- script does not read or write votes on messages before that one: a client can have many of them wait.

-- include clock
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
-- include head
-- include message
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
