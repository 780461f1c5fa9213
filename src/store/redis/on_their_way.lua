-- What batches on their way hold of a session.
-- KEYS[1]: `backendai:<namespace>:`. ARGV: session.
-- Answers the number of batches ever made; and for each batch on its way its id and the session's queries in it.
local batches = {}
for n, id in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'flushes')) do
  batches[n] = {id, tonumber(redis.call('HGET', KEYS[1] .. 'flush:' .. id, 's:' .. ARGV[1]) or '0')}
end
return {tonumber(redis.call('GET', KEYS[1] .. 'takes') or '0'), batches}
