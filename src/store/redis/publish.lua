-- Adds an event to a session's stream and rings its watchers.
-- KEYS[1]: the stream, and the channel. ARGV: the event, its reason, the stream's life in ms.
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', 64, '*', 'event', ARGV[1], 'reason', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', KEYS[1], '')
return id
