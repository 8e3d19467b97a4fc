-- Takes marks off their votes, if they are still theirs. KEYS: messages; ARGV: voter and time.

for i, key in ipairs(KEYS) do
  local voter, cast = ARGV[2 * i - 1], ARGV[2 * i]
  if redis.pcall('HGET', key, 'p' .. voter) == cast then redis.call('HDEL', key, 'p' .. voter)
  else redis.pcall('HDEL', key, 'o' .. cast .. voter) end
end
