-- The beginning of push.lua and replace.lua. All keys of a script share the user's hash tag, and each script is atomic.
--
-- An element of a timeline's list is `seq (8 bytes) published_us (8) story (8) via (1) story_id`; a body is that without `seq`. The
-- `about` hash has `seq`, `snapshot`, `follows` and, once something was left out, `floor` (published_us (8) story_id): the newest of
-- what is missing. So a timeline holds everything that is newer than its floor, and whatever is not is left alone.
--
-- Redis gives Lua C strings compared by the locale; ids are ordered by their bytes.
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
