-- The beginning of every script here: the keys of one shard, and what the scripts share.
--
-- All keys of a shard carry the hash tag {<namespace>r<shard>}: a script stays in one slot.
--
--   key           type  holds
--   {…}due        ZSET  destination -> ms: when its first entry may be claimed, which is the
--                       later one of its queue's head and its door's end
--   {…}q:<dest>   ZSET  member -> ms, whole: waits until then
--                              -> ms + nonce/4096: leased until then; nobody else has this score
--   {…}body       HASH  destination \0 member -> attempt (4 bytes, big-endian), packed delivery
--   {…}bytes      HASH  destination -> bytes of its bodies; '' -> of the shard's
--   {…}doors      ZSET  destination -> ms: closed until then
--   {…}backoff    HASH  destination -> failures, since, open_until
--
-- A destination is written tenant/id. What is empty or over is not there, so an idle shard has
-- no keys. Times are in ms since the epoch, by the server's clock.
--
--   KEYS   due, doors, bytes, body, then the queue of each destination that ARGV speaks of
--   ARGV   the script's own ones, then for each queue a count and that many entries

local DUE, DOORS, BYTES, BODY, FIRST_QUEUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], 5

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local function destination_of(queue)
  return string.sub(queue, #DUE) -- '{…}due' is one character longer than '{…}q:'
end

local function field_of(destination, member)
  return destination .. '\0' .. member
end

local function attempt_of(body)
  return (struct.unpack('>I4', body))
end

-- How the end of a lease is written: all digits of a double, so that reading it gives the same.
local function token_of(score)
  return string.format('%.17g', score)
end

local function is_closed(destination)
  local door = redis.call('ZSCORE', DOORS, destination)
  return door and tonumber(door) > NOW
end

local change = 0 -- of the bytes of the destination at hand, not yet written

local function bytes_of(destination)
  return tonumber(redis.call('HGET', BYTES, destination) or 0) + change
end

local function account(destination)
  if change == 0 then return end
  for _, field in ipairs({destination, ''}) do
    if redis.call('HINCRBY', BYTES, field, change) == 0 then
      redis.call('HDEL', BYTES, field)
    end
  end
  change = 0
end

-- Writes an entry over what is `stored` in its place (false: nothing).
local function put(queue, destination, member, score, body, stored)
  redis.call('ZADD', queue, score, member)
  redis.call('HSET', BODY, field_of(destination, member), body)
  change = change + #body - (stored and #stored or 0)
end

local function drop(queue, destination, member)
  local field = field_of(destination, member)
  change = change - redis.call('HSTRLEN', BODY, field)
  redis.call('HDEL', BODY, field)
  redis.call('ZREM', queue, member)
end

-- Makes the destination's place in `due` right again; everything that changes scores ends so.
local function refresh(queue, destination)
  local head = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if not head[2] then
    redis.call('ZREM', DUE, destination)
    return
  end
  local at = head[2]
  local door = redis.call('ZSCORE', DOORS, destination)
  if door and tonumber(door) > tonumber(at) then at = door end
  redis.call('ZADD', DUE, at, destination)
end

-- Calls visit(queue, destination, i) for every entry, ARGV[i] being the first of its `width`
-- values; ARGV[at] is the first count. Returns what the visits returned, in order.
local function each_entry(at, width, visit)
  local results = {}
  for k = FIRST_QUEUE, #KEYS do
    local queue, count = KEYS[k], tonumber(ARGV[at])
    local destination = destination_of(queue)
    at = at + 1
    for _ = 1, count do
      results[#results + 1] = visit(queue, destination, at)
      at = at + width
    end
    account(destination)
    refresh(queue, destination)
  end
  return results
end
