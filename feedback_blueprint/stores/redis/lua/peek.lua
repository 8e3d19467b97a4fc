-- Returns a message without its text.

local first = 1
-- include clock
-- include found
-- include whole
return message
