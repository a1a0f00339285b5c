#!lua flags=allow-oom
-- Leases what is due, oldest first. Answers the token, then for each queue member, body, ….
-- Lengths are asked for before bodies: a hundred large ones would hold up everybody.
--
--   ARGV   lease in ms, nonce; 1, (count, most bytes) for each queue

local CHUNK = 500 -- values that unpack() may spread over a call

local token = token_of(NOW + ARGV[1] + ARGV[2] / 4096)

local function within(destination, members, bytes)
  local fields = {}
  for i, member in ipairs(members) do
    local field = field_of(destination, member)
    bytes = bytes - redis.call('HSTRLEN', BODY, field)
    if bytes < 0 and i > 1 then break end
    fields[i] = field
  end
  return fields
end

local function lease(queue, members, fields)
  local taken = {}
  for first = 1, #fields, CHUNK do
    local last, scores = math.min(first + CHUNK - 1, #fields), {}
    local bodies = redis.call('HMGET', BODY, unpack(fields, first, last))
    for i = first, last do
      scores[#scores + 1], scores[#scores + 2] = token, members[i]
      taken[2 * i - 1], taken[2 * i] = members[i], bodies[i - first + 1]
    end
    redis.call('ZADD', queue, unpack(scores))
  end
  return taken
end

local function claim(queue, destination, i)
  if is_closed(destination) then return {} end
  local members = redis.call('ZRANGE', queue, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, ARGV[i])
  return lease(queue, members, within(destination, members, tonumber(ARGV[i + 1])))
end

return {token, each_entry(3, 2, claim)}
