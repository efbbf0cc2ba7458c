-- KEYS: slate, pagination session. ARGV: the slate's id. What a pagination session has consumed is needed only when its slate
-- is gone.
local slate = redis.call('GET', KEYS[1])
return {ARGV[1], slate, not slate and redis.call('GET', KEYS[2])}
