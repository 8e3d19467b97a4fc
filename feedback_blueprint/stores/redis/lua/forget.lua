-- Removes what `export.lua` returns, and returns it. KEYS: the message, and the outboxes on its server.
--
-- If no other vote keeps the message, it expires when it would have expired without votes.

-- include raters_part
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
