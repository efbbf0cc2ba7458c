-- KEYS: pulled, its version. ARGV: SADD or SREM, target. The version grows with every change, so that readers know when to read
-- anew.
if redis.call(ARGV[1], KEYS[1], ARGV[2]) == 1 then return redis.call('INCR', KEYS[2]) end
return 0
