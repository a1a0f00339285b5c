#!lua flags=allow-oom
-- Closes doors for some time, or opens them.
--
--   ARGV   1, ms or 0 to open, for each queue

local function door(_, destination, i)
  local closed = tonumber(ARGV[i])
  if closed > 0 then
    redis.call('ZADD', DOORS, NOW + closed, destination)
  else
    redis.call('ZREM', DOORS, destination)
  end
end

redis.call('ZREMRANGEBYSCORE', DOORS, '-inf', NOW)
each_entry(1, 1, door)
