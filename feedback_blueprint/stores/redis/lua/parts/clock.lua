-- Reads the time in milliseconds, and packs times as `pack_time` does.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function packed(time) return struct.pack('>I6', time) end
local function unpacked(time) return (struct.unpack('>I6', time)) end
