"""The scripts that change one user's timeline, each atomic. All keys of a script share the user's hash tag.

An element of the list is `seq (8 bytes) published_us (8) story (8) via (1) story_id`; a body is that without `seq`. The
`about` hash has `seq`, `snapshot`, `follows` and, once something was left out, `floor` (published_us (8) story_id): the
newest of what is missing. So a timeline holds everything that is newer than its floor, and whatever is not is left alone.
"""

from __future__ import annotations

# Redis gives Lua C strings compared by the locale; ids are ordered by their bytes.
_ORDER = """
local function newer(time, id, other_time, other_id)
  if time ~= other_time then return time > other_time end
  local n = math.min(#id, #other_id)
  for i = 1, n do
    local a, b = string.byte(id, i), string.byte(other_id, i)
    if a ~= b then return a > b end
  end
  return #id > #other_id
end
local function newer_than_item(time, id, item)
  return newer(time, id, (struct.unpack('<i8', item, 9)), string.sub(item, 26))
end
local function floor_of(item) return string.sub(item, 9, 16) .. string.sub(item, 26) end
"""

# KEYS: timeline, about, registered of each user. ARGV: body, most entries, s that the list outlives its about, target,
# refusals. One answer a user.
_PUSH_HEAD = """
local body, most = ARGV[1], tonumber(ARGV[2])
local time, id = struct.unpack('<i8', body), string.sub(body, 18)
local function push(list_key, about_key, registered_key)
local about = redis.call('HMGET', about_key, 'seq', 'floor')
if not about[1] then return -1 end
local marks = redis.call('SMISMEMBER', registered_key, ARGV[4], ARGV[5], ARGV[6])
if marks[1] == 0 then return -1 end
if marks[2] == 1 or marks[3] == 1 then return 0 end
local floor = about[2]
if floor and not newer(time, id, (struct.unpack('<i8', floor)), string.sub(floor, 9)) then return 0 end
local before, at, step = nil, 0, 1
while not before do
  local items = redis.call('LRANGE', list_key, at, at + step - 1)
  for i, item in ipairs(items) do
"""
_SAME_STORY = """
    if string.sub(item, 9, 24) == string.sub(body, 1, 16) then
      local was = string.byte(item, 25)
      local via = bit.bor(was, string.byte(body, 17))
      if via ~= was then
        redis.call('LSET', list_key, at + i - 1, string.sub(item, 1, 24) .. string.char(via) .. string.sub(item, 26))
      end
      return 0
    end
"""
_PUSH_TAIL = """
    if newer_than_item(time, id, item) then before = item; break end
  end
  if #items < step then break end
  at, step = at + step, 32
end
local length = redis.call('LLEN', list_key)
if not before and length >= most then
  redis.call('HSET', about_key, 'floor', string.sub(body, 1, 8) .. id)
  return 0
end
local item = struct.pack('<I8', redis.call('HINCRBY', about_key, 'seq', 1)) .. body
if before then redis.call('LINSERT', list_key, 'BEFORE', before, item) else redis.call('RPUSH', list_key, item) end
if length == 0 then redis.call('PEXPIRE', list_key, redis.call('PTTL', about_key) + 1000 * ARGV[3]) end
if length >= most then redis.call('HSET', about_key, 'floor', floor_of(redis.call('RPOP', list_key))) end
return 1
end
local answers = {}
for i = 1, #KEYS, 3 do answers[#answers + 1] = push(KEYS[i], KEYS[i + 1], KEYS[i + 2]) end
return answers
"""

# KEYS: timeline, about. ARGV: story (8 bytes), most entries. 1: the timeline is now shorter than what it could hold.
REMOVE = """
local about = redis.call('HMGET', KEYS[2], 'seq', 'floor')
if not about[1] then return 0 end
for _, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if string.sub(item, 17, 24) == ARGV[1] then redis.call('LREM', KEYS[1], 1, item) end
end
if about[2] and redis.call('LLEN', KEYS[1]) < tonumber(ARGV[2]) then return 1 end
return 0
"""

# KEYS: timeline, about. ARGV: seq seen before the stories were looked up, snapshot, ttl s, s that the list outlives its
# about, most entries, floor, digest of the follows, then bodies, newest first. What was pushed since then stays; stories
# keep their numbers.
REPLACE = (
    _ORDER
    + """
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
"""
)


def push_script(*, dedupe: bool = True) -> str:
    """Inserts a body at its place, for some users of one partition: 1 inserted, 0 nothing to do, -1 nobody to push to.

    Without `dedupe` a story that is there already is inserted again: for the test that shows what the check is good for.
    """
    return _ORDER + _PUSH_HEAD + (_SAME_STORY if dedupe else "") + _PUSH_TAIL
