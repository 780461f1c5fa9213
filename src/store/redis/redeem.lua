-- Gives a ticket and deletes it. KEYS[1]: its key.
local ticket = redis.call('GET', KEYS[1])
if ticket then
  redis.call('DEL', KEYS[1])
end
return ticket
