-- Returns a message without its text, the caller's vote, and under which hash that is kept.
--
-- ARGV: for how many milliseconds a vote can be read, and the hashes of the rater.

local first, life = 2, tonumber(ARGV[1])
-- include clock
-- include found
-- include voter
-- include whole
return {message, held and held:sub(7) or false, voter}
