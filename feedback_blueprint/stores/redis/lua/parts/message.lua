-- Reads a message without its text. A script that first ends for strangers takes no longer for another
-- rater's message than for none.
--
-- Ends the script, before it writes anything, if `unpack_message` would find no message.

local rest, facts = '', {}
if kind == 'hash' then rest = redis.call('HGET', KEYS[1], 'x') or ''
elseif #found[1] > 41 then rest = redis.call('GET', KEYS[1]):sub(size + 1)
elseif #found[1] > size then rest = found[1]:sub(size + 1)
end
if rest ~= '' then
  local valid
  valid, facts = pcall(cjson.decode, rest)
  if not valid or type(facts) ~= 'table' then return end
  if facts.context and type(facts.context) ~= 'table' then return end
  if facts.trace_id and type(facts.trace_id) ~= 'string' then return end
end
local message = head .. rest
