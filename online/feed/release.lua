-- KEYS: lock. ARGV: the builder's token. Frees the lock of this very builder: one that was taken for dead must not free its
-- successor's.
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1])
