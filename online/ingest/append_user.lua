-- KEYS: edges, stream. ARGV: field, value that it was made after or nothing, document, ttl s. False: another came between.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return false end
local id = redis.call('XADD', KEYS[2], '*', 'user', ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. '|' .. id)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return id
