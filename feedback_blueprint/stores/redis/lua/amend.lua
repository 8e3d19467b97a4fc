-- Replaces the rest of a message and its text, if it is still the same one. ARGV: as `pack_message`.

local first = #ARGV + 1
-- include clock
-- include head
-- include message
-- include keep
local new = ARGV[2] ~= '' and cjson.decode(ARGV[2]) or {}
if head ~= ARGV[1] or facts.trace_id ~= new.trace_id then return end
if ARGV[3] then keep('0', 'x', ARGV[2], 'c', ARGV[3])
elseif kind == 'hash' then keep('0', 'x', ARGV[2])
else redis.call('SET', KEYS[1], head .. ARGV[2], 'KEEPTTL')
end
