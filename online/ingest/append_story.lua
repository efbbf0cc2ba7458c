-- KEYS: documents, stream. ARGV: story hash, story id, document, ttl s, the document that it was made after or nothing.
-- Answers '' when another came between: appended all the same, the stream would end with one and the lake, which goes by
-- `updated_at`, with the other. Two ids with one hash cannot both be stories.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if (before or '') ~= ARGV[5] then return '' end
if before and cjson.decode(before)['story_id'] ~= ARGV[2] then return false end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('XADD', KEYS[2], '*', 'story', ARGV[3])
