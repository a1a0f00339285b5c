#!lua flags=allow-oom
-- Removes entries whose lease is still exactly the one shown.
--
--   ARGV   count, (member, token)…

local function finish(queue, destination, i)
  local score = redis.call('ZSCORE', queue, ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    drop(queue, destination, ARGV[i])
  end
end

each_entry(1, 2, finish)
