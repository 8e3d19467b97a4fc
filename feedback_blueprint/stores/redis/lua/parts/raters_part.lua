-- Finds the rater's part of a message: `names` of fields, `marks`, and the `reply` of `export.lua`.

local first = 1
-- include clock
-- include head
-- include ends_for_strangers
-- include message
local function is_theirs(voter)
  for i = 1, #ARGV do if ARGV[i] == voter then return true end end
  return is_whole
end
local exported, names, marks, others = {'m', head, 'x', rest}, {}, {}, false
local fields = kind == 'hash' and redis.call('HGETALL', KEYS[1]) or {}
for i = 1, #fields, 2 do
  local name, value, what = fields[i], fields[i + 1], fields[i]:sub(1, 1)
  local voter = (what == 'v' or what == 'p') and name:sub(2) or what == 'o' and name:sub(8)
  if voter and is_theirs(voter) then
    names[#names + 1] = name
    local cast = what == 'p' and value or what == 'o' and name:sub(2, 7)
    if cast then
      marks[#marks + 1] = unpacked(cast) .. ' ' .. #voter .. ' ' .. voter .. KEYS[1]
    end
  elseif voter then others = true
  end
  if (voter and is_theirs(voter)) or (what == 'c' and is_whole) then
    exported[#exported + 1] = name
    exported[#exported + 1] = value
  end
end
if not is_whole and #names == 0 then return end
local left = redis.call('PTTL', KEYS[1])
local reply = {is_whole and 1 or 0, left, until_when and until_when - now or left, exported}
