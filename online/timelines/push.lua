-- Inserts a body at its place, for some users of one partition. KEYS: timeline, about, registered of each user. ARGV: body, most entries,
-- s that the list outlives its about, target, the refusals of the author and of the publication, 1 (0: a story that is there already
-- is inserted again, for the test that shows what the check is good for). One answer a user: 1 inserted, 0 nothing to do, -1 nobody
-- to push to.
local body, most, dedupe = ARGV[1], tonumber(ARGV[2]), ARGV[7] == '1'
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
    if dedupe and string.sub(item, 9, 24) == string.sub(body, 1, 16) then
      local was = string.byte(item, 25)
      local via = bit.bor(was, string.byte(body, 17))
      if via ~= was then
        redis.call('LSET', list_key, at + i - 1, string.sub(item, 1, 24) .. string.char(via) .. string.sub(item, 26))
      end
      return 0
    end
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
