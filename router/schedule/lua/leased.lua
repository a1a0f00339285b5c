#!lua flags=no-writes
-- Counts the entries that are under a lease now.
--
--   ARGV   longest lease in ms

local leased = 0
for k = FIRST_QUEUE, #KEYS do
  local scores = redis.call('ZRANGE', KEYS[k], '(' .. NOW, NOW + ARGV[1] + 1, 'BYSCORE', 'WITHSCORES')
  for i = 2, #scores, 2 do
    if tonumber(scores[i]) % 1 ~= 0 then leased = leased + 1 end
  end
end
return leased
