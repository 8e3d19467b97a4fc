-- Says under which of the rater's hashes the caller votes, and finds the vote that is held.
--
-- That is the owner's or, of a message that is anybody's, the first that has a vote, else the first.
--
-- Ends if the message is another's, or can no longer be rated by who has no vote of the last `life`
-- milliseconds.

local voter, held
for i = first, #ARGV do
  if not held and (not owner or ARGV[i] == owner) then
    held = found[i - first + 2]
    held = held and unpacked(held) + life > now and held
    if held or not voter then voter = ARGV[i] end
  end
end
if not voter then return end
if until_when and until_when <= now and not held then return end
