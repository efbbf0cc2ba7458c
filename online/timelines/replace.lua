-- KEYS: timeline, about. ARGV: seq seen before the stories were looked up, snapshot, ttl s, s that the list outlives its
-- about, most entries, floor, digest of the follows, then bodies, newest first. What was pushed since then stays; stories
-- keep their numbers.
local seq = redis.call('HGET', KEYS[2], 'seq')
if not seq then redis.call('DEL', KEYS[1]); seq = 0 end
seq = tonumber(seq)
local seen, most, floor = tonumber(ARGV[1]), tonumber(ARGV[5]), ARGV[6]
local numbers, pushed = {}, {}
for _, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local story = string.sub(item, 17, 24)
  numbers[story] = string.sub(item, 1, 8)
  if struct.unpack('<I8', item) > seen then pushed[story] = item end
end
local list = {}
for i = #ARGV, 8, -1 do
  local story = string.sub(ARGV[i], 9, 16)
  if not numbers[story] then seq = seq + 1; numbers[story] = struct.pack('<I8', seq) end
  list[i - 7] = numbers[story] .. ARGV[i]
  pushed[story] = nil
end
for _, item in pairs(pushed) do
  local time, id = struct.unpack('<i8', item, 9), string.sub(item, 26)
  if floor == '' or newer(time, id, (struct.unpack('<i8', floor)), string.sub(floor, 9)) then
    local at = 1
    while list[at] and not newer_than_item(time, id, list[at]) do at = at + 1 end
    table.insert(list, at, item)
    if #list > most then floor = floor_of(table.remove(list)) end
  end
end
redis.call('DEL', KEYS[1])
for i = 1, #list, 500 do redis.call('RPUSH', KEYS[1], unpack(list, i, math.min(i + 499, #list))) end
redis.call('EXPIRE', KEYS[1], ARGV[3] + ARGV[4])
redis.call('HSET', KEYS[2], 'seq', seq, 'snapshot', ARGV[2], 'follows', ARGV[7])
if floor == '' then redis.call('HDEL', KEYS[2], 'floor') else redis.call('HSET', KEYS[2], 'floor', floor) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return #list
