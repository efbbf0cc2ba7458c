-- KEYS: timeline, about. ARGV: story (8 bytes), most entries. 1: the timeline is now shorter than what it could hold.
local about = redis.call('HMGET', KEYS[2], 'seq', 'floor')
if not about[1] then return 0 end
for _, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if string.sub(item, 17, 24) == ARGV[1] then redis.call('LREM', KEYS[1], 1, item) end
end
if about[2] and redis.call('LLEN', KEYS[1]) < tonumber(ARGV[2]) then return 1 end
return 0
