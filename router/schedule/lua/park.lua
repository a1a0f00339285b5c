#!lua
-- Parks entries; a new one only within the bounds. Answers parked, kept or refused for each.
-- Where memory is used up it runs once more with `flags=allow-oom` and no room.
--
--   ARGV   bytes that there is room for, most bytes of a destination; count, (member, due, body)…

local room, most = tonumber(ARGV[1]), tonumber(ARGV[2])

local function fits(destination, bytes)
  return bytes <= room and bytes_of(destination) + bytes <= most
end

local function park(queue, destination, i)
  local member, due, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stored = redis.call('HGET', BODY, field_of(destination, member))
  if stored then
    if attempt_of(stored) >= attempt_of(body) then return 'kept' end
  elseif fits(destination, #body) then
    room = room - #body
  else
    return 'refused'
  end
  put(queue, destination, member, due, body, stored)
  return 'parked'
end

return each_entry(3, 3, park)
