-- What access keys used that PostgreSQL may not know yet.
-- KEYS[1]: `backendai:<namespace>:`. ARGV: access keys.
-- Answers the number of batches ever made; what no batch has yet, flat, for each key its queries and the time of the
-- last one in UNIX ms; and for each batch on its way its id and the same of it.
local function used(name)
  local numbers = {}
  for n, key in ipairs(ARGV) do
    local both = redis.call('HMGET', KEYS[1] .. name, 'k:' .. key, 'l:' .. key)
    numbers[2 * n - 1], numbers[2 * n] = tonumber(both[1] or '0'), tonumber(both[2] or '0')
  end
  return numbers
end
local batches = {}
for n, id in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'flushes')) do
  batches[n] = {id, used('flush:' .. id)}
end
return {tonumber(redis.call('GET', KEYS[1] .. 'takes') or '0'), used('pending'), batches}
