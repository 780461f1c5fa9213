-- How many requests are in the windows of keys, as gate.lua last added them up (some may have left since).
-- KEYS[1]: `backendai:<namespace>:`. ARGV: access keys. Answers a number for each.
local used = {}
for n, key in ipairs(ARGV) do
  local sum = redis.call('GETRANGE', KEYS[1] .. 'rate:' .. key, 4, 7)
  used[n] = #sum == 4 and struct.unpack('>I4', sum) or 0
end
return used
