-- KEYS: state. ARGV: field, state of the edge on the other side, ttl s. The state that arrived last counts, in whatever
-- order and however often it is sent.
local pattern = '^-?%d+|%a+|(%d+)'
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before or tonumber(string.match(before, pattern)) < tonumber(string.match(ARGV[2], pattern)) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
