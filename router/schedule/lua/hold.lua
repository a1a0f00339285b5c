#!lua flags=allow-oom
-- Puts running attempts under a lease, or renews it, whatever the bounds say. Answers for each
-- the lease's token, '' when the entry isn't the caller's, or 'body' when it takes the body to
-- decide that and none was sent (a renewal doesn't need it).
--
--   ARGV   lease in ms, nonce; count, (member, token or '', body or '')…

local lease = NOW + ARGV[1] + ARGV[2] / 4096

local function hold(queue, destination, i)
  local member, token, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local score = redis.call('ZSCORE', queue, member)
  if score and tonumber(score) == tonumber(token) then
    redis.call('ZADD', queue, token_of(lease), member)
    return token_of(lease)
  end
  if body == '' then return 'body' end
  local stored = score and redis.call('HGET', BODY, field_of(destination, member))
  if stored and attempt_of(stored) >= attempt_of(body) then return '' end
  put(queue, destination, member, token_of(lease), body, stored)
  return token_of(lease)
end

return each_entry(3, 3, hold)
