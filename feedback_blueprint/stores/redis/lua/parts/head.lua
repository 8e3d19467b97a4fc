-- Reads the head of a message, and the votes of the rater. ARGV: from `first` on, the rater's hashes.
--
-- Ends the script if the value does not begin as a message: the key may be another app's. The script
-- then returns 'newer' if `is_newer` says so.

local kind, found = redis.call('TYPE', KEYS[1]).ok, nil
if kind == 'hash' then
  local names = {'m', 'f'}
  for i = first, #ARGV do names[#names + 1] = 'v' .. ARGV[i] end
  found = redis.call('HMGET', KEYS[1], unpack(names))
elseif kind == 'string' or kind == 'none' then
  found = {redis.call('GETRANGE', KEYS[1], '0', '41')} -- one byte more than any head has
else return end
local head = found[1] or ''
local layout = head:byte(1) or 0
local size = ({17, 33, 25, 41})[layout]
if layout > 4 and layout < 8 and #head >= 17 then return 'newer' end
if not size or #head < size or (kind == 'hash' and #head ~= size + 6) then return end
local until_when = kind == 'hash' and unpacked(head:sub(size + 1))
head = head:sub(1, size)
local owner = (layout == 2 or layout == 4) and head:sub(18, 33)
