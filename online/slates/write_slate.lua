-- KEYS: slate, pagination session, latest slates, promoted today. ARGV: slate, its ttl s, session, its ttl s, surface, slate id,
-- ttl s of promoted, then each promotion and its cap. Without a surface it is the continuation of a pagination session, which no
-- first page may come from and which may not be written anew while cursors into its pagination session are about. Answers the slate that
-- is kept, if another; 1 when a cap was reached since the slate was begun: another surface of the user is built side by side.
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
if ARGV[5] == '' and redis.call('EXISTS', KEYS[2]) == 1 then return '' end
for i = 8, #ARGV, 2 do
  local cap = tonumber(ARGV[i + 1])
  if cap >= 0 and tonumber(redis.call('HGET', KEYS[4], ARGV[i]) or 0) >= cap then return 1 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end
for i = 8, #ARGV, 2 do redis.call('HINCRBY', KEYS[4], ARGV[i], 1) end
if #ARGV > 7 then redis.call('EXPIRE', KEYS[4], ARGV[7]) end
return false
