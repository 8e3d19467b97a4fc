-- Takes marks off votes that still bear them. KEYS: messages. ARGV: for each, the voter and the time.

for i, key in ipairs(KEYS) do
  local voter, cast = ARGV[2 * i - 1], ARGV[2 * i]
  if redis.pcall('HGET', key, 'p' .. voter) == cast then redis.call('HDEL', key, 'p' .. voter)
  else redis.pcall('HDEL', key, 'o' .. cast .. voter) end
end
