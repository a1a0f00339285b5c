#!lua flags=allow-oom
-- Sets what is kept of destinations' failures.
--
--   KEYS   {…}backoff
--   ARGV   (destination, failures, since and open_until, or '' to forget)…

for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
