-- KEYS: lease, current, versions, staged. ARGV: the holder's token, version, its number. Only who still holds the lease moves the
-- pointer; a version leaves the staged ones in the same instant. 0: the lease is another's.
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[2], ARGV[2])
if redis.call('srem', KEYS[4], ARGV[2]) == 1 then redis.call('zadd', KEYS[3], ARGV[3], ARGV[2]) end
return 1
