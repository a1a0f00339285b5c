#!lua flags=allow-oom
-- Removes entries, leased or waiting, unless they are of a later attempt than is said.
--
--   ARGV   count, (member, last attempt or '' for any)…

local function remove(queue, destination, i)
  local stored = redis.call('HGET', BODY, field_of(destination, ARGV[i]))
  local last = tonumber(ARGV[i + 1])
  if stored and (not last or attempt_of(stored) <= last) then
    drop(queue, destination, ARGV[i])
  end
end

each_entry(1, 2, remove)
