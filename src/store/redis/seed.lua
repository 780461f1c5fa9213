-- Starts the total of a session where there is none, then adds to it.
-- KEYS[1]: `backendai:<namespace>:`. ARGV: session, total of PostgreSQL, queries to add.
-- Answers the total.
local queries, pending = KEYS[1] .. 'queries', KEYS[1] .. 'pending'
local session, add = ARGV[1], tonumber(ARGV[3])
if redis.call('HEXISTS', queries, session) == 0 then
  -- PostgreSQL does not know yet what is pending.
  local known = tonumber(redis.call('HGET', pending, 's:' .. session) or '0')
  redis.call('HSET', queries, session, tonumber(ARGV[2]) + known)
end
if add > 0 then
  redis.call('HINCRBY', pending, 's:' .. session, add)
end
return redis.call('HINCRBY', queries, session, add)
