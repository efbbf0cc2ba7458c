-- KEYS: seen, stream, state (choices or interactions). ARGV: window s, event, state ttl s, what, then per kind:
-- choice: field, occurred_us, op, how many are kept (0: any number), whether it applies on arrival (1, 0), received_us;
-- interaction: member, occurred_ms, how many are kept.
-- Answers 1 applied, 0 seen before, -1 no room; and of a choice the state it is in now. This is the rule of
-- features/choices.py. Arrivals at one edge are strictly in order, also when clocks step back: the batch goes by them.
-- The state of an edge: occurred_us|op|received_us of the last arrival|stream id of the last change that applied on
-- arrival, or 0-0|stream id. What lies before the stream's first entry is in every kept snapshot; a full hash is rid of that
-- once for every such entry, which it holds as `trimmed`.
local choice = ARGV[4] == 'choice'
if redis.call('EXISTS', KEYS[1]) == 1 then return {0, choice and redis.call('HGET', KEYS[3], ARGV[5]) or ''} end
local before, state, event = false, '', ARGV[2]
local function held()
  return redis.call('HLEN', KEYS[3]) - redis.call('HEXISTS', KEYS[3], 'account') - redis.call('HEXISTS', KEYS[3], 'trimmed')
end
if choice then
  before = redis.call('HGET', KEYS[3], ARGV[5])
  local kept = tonumber(ARGV[8])
  if not before and kept > 0 and held() >= kept then
    local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    if redis.call('HGET', KEYS[3], 'trimmed') ~= (first and first[1] or '-') then
      local since = first and tonumber(string.match(first[1], '^%d+')) or math.huge
      local edges = redis.call('HGETALL', KEYS[3])
      for i = 1, #edges, 2 do
        local at = string.find(edges[i], '|', 1, true) and string.match(edges[i + 1], '(%d+)%-%d+$')
        if at and tonumber(at) < since then redis.call('HDEL', KEYS[3], edges[i]) end
      end
      redis.call('HSET', KEYS[3], 'trimmed', first and first[1] or '-')
    end
    if held() >= kept then return {-1, ''} end
  end
end
local last_us, last_op, last_received, arrival, position
local received = choice and tonumber(ARGV[10])
if before then
  last_us, last_op, last_received, arrival, position = string.match(before, '^(-?%d+)|(%a+)|(%d+)|([%d-]+)|([%d-]+)$')
  received = math.max(received, tonumber(last_received) + 1)
end
if choice then
  received = string.format('%.0f', received)
  event = string.sub(event, 1, -2) .. ',"received_us":' .. received .. '}'
end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
local id = redis.call('XADD', KEYS[2], '*', 'event', event)
if choice then
  if ARGV[9] == '1' or not before or tonumber(last_us) <= tonumber(ARGV[6]) then
    last_us, last_op, position = ARGV[6], ARGV[7], id
    arrival = ARGV[9] == '1' and id or arrival or '0-0'
  end
  state = table.concat({last_us, last_op, received, arrival, position}, '|')
  redis.call('HSET', KEYS[3], ARGV[5], state)
  redis.call('EXPIRE', KEYS[3], ARGV[3])
elseif ARGV[4] == 'interaction' then
  redis.call('ZADD', KEYS[3], 'GT', ARGV[6], ARGV[5])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[7]))
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
return {1, state}
