-- KEYS: lease, versions, staged. ARGV: the holder's token, versions. What is about to be deleted is half there: whoever is killed
-- while deleting leaves a note to the next publisher. 0: the lease is another's.
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #ARGV do
  redis.call('zrem', KEYS[2], ARGV[i])
  redis.call('sadd', KEYS[3], ARGV[i])
end
return 1
