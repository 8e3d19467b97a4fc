-- Returns a message without its text, the rater's vote, and the hash that the vote is kept under.
--
-- ARGV: for how many milliseconds a vote can be read, and the rater's hashes.

local first, life = 2, tonumber(ARGV[1])
-- include clock
-- include head
-- include standing_vote
-- include message
return {message, stored and stored:sub(7) or false, voter}
