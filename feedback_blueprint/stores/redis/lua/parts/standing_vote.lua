-- Finds the rater's vote that stands, and `voter`: which of the rater's hashes it is kept under.
--
-- On a message that has an owner this is the owner's hash. On any other it is the first that has a
-- vote, or the first of all.
--
-- Ends the script if the message is another rater's. Also ends it if the time to rate has passed and
-- the rater has no vote of the last `life` milliseconds.

local voter, stored
for i = first, #ARGV do
  if not stored and (not owner or ARGV[i] == owner) then
    stored = found[i - first + 3]
    stored = stored and unpacked(stored) + life > now and stored
    if stored or not voter then voter = ARGV[i] end
  end
end
if not voter then return end
if until_when and until_when <= now and not stored then return end
