-- Makes what is pending a batch of the given id.
-- KEYS[1]: `backendai:<namespace>:`. ARGV: id.
-- `takes` counts the batches that were made, so that a reader sees whether one was made meanwhile.
-- Answers the ids of all batches that nobody finished, a new one last.
local waiting = redis.call('SMEMBERS', KEYS[1] .. 'flushes')
if redis.call('EXISTS', KEYS[1] .. 'pending') == 1 then
  redis.call('RENAME', KEYS[1] .. 'pending', KEYS[1] .. 'flush:' .. ARGV[1])
  redis.call('SADD', KEYS[1] .. 'flushes', ARGV[1])
  redis.call('INCR', KEYS[1] .. 'takes')
  waiting[#waiting + 1] = ARGV[1]
end
return waiting
