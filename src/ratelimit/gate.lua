-- The gate: lets in and counts the requests that wait in one worker, in one call.
--
-- KEYS[1]  `backendai:<namespace>:`
-- ARGV[1]  number of access keys, then for each:
--            access key
--            limit; -1: count all, they were let in while Redis was away
--            requests without a session
--            requests that count whatever the window says: at least so many are in the window, because the
--              worker saw them there and none can have left since (Redis may have lost its data); 0: unknown
--            time of last use in UNIX ms; 0: now
--            number of sessions, then for each: session, requests
-- then     number of sessions that were answered for while Redis was away, for each: session, requests
--            (PostgreSQL has counted them; their totals here have not)
-- then     ids of runs (`<session>:<run>`), to the end
--
-- Answers a flat list: for each access key: admitted, remaining, ms until the oldest bucket leaves; for each
-- of its sessions: total with the admitted ones, -1 for one that is not counted here; then the status of
-- each run, or nil. Of a key's requests those without a session are admitted first, then the sessions' in order.
--
-- `rate:<access key>` is a string of big-endian numbers of 4 bytes: open bucket, requests in all buckets,
-- requests in the open one, then (bucket, requests) of each closed one, oldest first. See window.rs.
local BUCKET, BUCKETS, LIFE = 15, 60, '930'

local call, pack, unpack_numbers = redis.call, struct.pack, struct.unpack
local floor, max, min = math.floor, math.max, math.min
local prefix = KEYS[1]
local rate = prefix .. 'rate:'
local queries, pending = prefix .. 'queries', prefix .. 'pending'

local time = call('TIME')
local now_ms = time[1] * 1000 + floor(time[2] / 1000)
local bucket = floor(time[1] / BUCKET)
-- Lua writes large numbers with an exponent, and formatting is dear: once is enough.
local now_text = string.format('%.0f', now_ms)

-- Opens the present bucket: head, sum, requests in the open bucket, closed buckets.
local function advance(key, head, sum, count)
  local raw = call('GET', key)
  local at = 13
  while at < #raw do
    local closed, requests = unpack_numbers('>I4I4', raw, at)
    if closed + BUCKETS >= bucket then break end
    sum = sum - requests
    at = at + 8
  end
  local rest = string.sub(raw, at)
  if count > 0 then
    if head + BUCKETS >= bucket then
      rest = rest .. pack('>I4I4', head, count)
    else
      sum = sum - count
    end
  end
  return bucket, sum, 0, rest
end

-- Takes requests into the window of a key: admitted, remaining, ms until the oldest bucket leaves.
local function take(key, limit, wanted, at_least)
  local raw = call('GETRANGE', key, 0, 15)
  local head, sum, count, rest, oldest = bucket, 0, 0, nil, nil
  if #raw < 12 then
    rest = ''
  else
    head, sum, count = unpack_numbers('>I4I4I4', raw)
    if #raw > 12 then oldest = unpack_numbers('>I4', raw, 13) end
    if head < bucket then
      head, sum, count, rest = advance(key, head, sum, count)
      oldest = #rest > 0 and unpack_numbers('>I4', rest) or nil
    end
  end
  local changed = false
  if sum < at_least then
    sum, count, changed = at_least, count + at_least - sum, true
  end
  local admitted = wanted
  if limit >= 0 then admitted = max(0, min(wanted, limit - sum)) end
  sum, count = sum + admitted, count + admitted
  if rest then
    call('SET', key, pack('>I4I4I4', head, sum, count) .. rest, 'EX', LIFE)
  elseif admitted > 0 or changed then
    call('SETRANGE', key, 0, pack('>I4I4I4', head, sum, count))
  end
  local free_in = sum > 0 and ((oldest or head) + BUCKETS + 1) * BUCKET * 1000 - now_ms or 0
  return admitted, max(0, limit - sum), free_in
end

-- Counts admitted requests of a session: its total, or -1.
local function count_session(session, requests)
  local total = call('HGET', queries, session)
  if not total then return -1 end
  if requests == 0 then return tonumber(total) end
  call('HINCRBY', pending, 's:' .. session, requests)
  return call('HINCRBY', queries, session, requests)
end

local answer, n = {}, 0
local used = {}
local arg = 2
for _ = 1, tonumber(ARGV[1]) do
  local access_key, limit, plain = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local at_least, last, sessions = tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])
  arg = arg + 6
  local wanted = plain
  for s = 0, sessions - 1 do wanted = wanted + tonumber(ARGV[arg + 2 * s + 1]) end
  local admitted, remaining, free_in = take(rate .. access_key, limit, wanted, at_least)
  answer[n + 1], answer[n + 2], answer[n + 3] = admitted, remaining, free_in
  n = n + 3
  local left = max(0, admitted - plain)
  for _ = 1, sessions do
    local requests = min(left, tonumber(ARGV[arg + 1]))
    left = left - requests
    n = n + 1
    answer[n] = count_session(ARGV[arg], requests)
    arg = arg + 2
  end
  if admitted > 0 then
    call('HINCRBY', pending, 'k:' .. access_key, admitted)
    local field = 'l:' .. access_key
    local text = now_text
    if last > 0 then
      text = string.format('%.0f', max(last, tonumber(call('HGET', pending, field) or '0')))
    end
    used[#used + 1] = field
    used[#used + 1] = text
  end
end
if #used > 0 then call('HSET', pending, unpack(used)) end

local owed = tonumber(ARGV[arg])
arg = arg + 1
for _ = 1, owed do
  if call('HEXISTS', queries, ARGV[arg]) == 1 then
    call('HINCRBY', queries, ARGV[arg], ARGV[arg + 1])
  end
  arg = arg + 2
end

for run = arg, #ARGV do
  n = n + 1
  answer[n] = call('GET', prefix .. 'run:' .. ARGV[run])
end
return answer
