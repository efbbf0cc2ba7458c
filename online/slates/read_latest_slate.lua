-- KEYS: latest slates. ARGV: surface, the slates' key without the id. Answers the newest slate's id, the slate, false.
-- The slate key shares the hash tag of the user's keys, so naming it inside the script is safe on Redis Cluster.
local id = redis.call('HGET', KEYS[1], ARGV[1])
return {id, id and redis.call('GET', ARGV[2] .. id), false}
