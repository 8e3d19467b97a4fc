-- Returns a message without its text, whoever asks.

local first = 1
-- include clock
-- include head
-- include message
return message
