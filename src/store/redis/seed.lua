-- Starts the total of a session where there is none, then adds to it.
-- KEYS[1]: `backendai:<namespace>:`. ARGV: session, total of PostgreSQL and of the batches on their way, queries to
-- add, and how many batches were made when these were read; nothing where there cannot be any of the session.
-- Answers the total; -1 where another batch was made meanwhile, so that what was pending may be in both or in neither.
local queries, pending = KEYS[1] .. 'queries', KEYS[1] .. 'pending'
local session, add = ARGV[1], tonumber(ARGV[3])
if redis.call('HEXISTS', queries, session) == 0 then
  if ARGV[4] ~= '' and ARGV[4] ~= (redis.call('GET', KEYS[1] .. 'takes') or '0') then
    return -1
  end
  -- PostgreSQL does not know yet what is pending.
  local known = tonumber(redis.call('HGET', pending, 's:' .. session) or '0')
  redis.call('HSET', queries, session, tonumber(ARGV[2]) + known)
end
if add > 0 then
  redis.call('HINCRBY', pending, 's:' .. session, add)
end
return redis.call('HINCRBY', queries, session, add)
