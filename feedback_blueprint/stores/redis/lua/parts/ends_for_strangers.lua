-- Ends the script if nothing here is the rater's. ARGV: the rater's hashes, or none for everybody.

local is_whole = #ARGV == 0
for i = 1, #ARGV do is_whole = is_whole or ARGV[i] == owner end
local has_some = is_whole
for i = 1, #ARGV do has_some = has_some or found[i + 2] end
if not has_some and not found[2] then return end
