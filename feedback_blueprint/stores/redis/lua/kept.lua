-- Finds what is kept of a rater. KEYS: the message; ARGV: the rater's hashes.
--
-- Returns whether all of it is the rater's, the milliseconds that are left, and fields: how the
-- message begins, what else there is, its text if it is theirs, votes and marks.

-- include of_rater
return reply
