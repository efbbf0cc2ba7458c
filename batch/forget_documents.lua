-- KEYS: documents. ARGV: story hash, document, and so on. A document that has been changed since is another one, and stays.
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
