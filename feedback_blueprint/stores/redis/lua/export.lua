-- Returns what is kept of a rater. KEYS: the message. ARGV: the rater's hashes, or none for everybody.
--
-- Returns whether all of it is the rater's, the milliseconds until it expires, those until nobody new
-- can rate it, and fields: the head of the message, the rest of it, its text if that is the rater's,
-- votes and marks.

-- include raters_part
return reply
