-- KEYS workers reports   ARGV token [worker text ms]   →  {worker, text, …} without a worker
-- The report of each server process, kept as long as its lease, by the clock of this Redis.
local WORKERS = KEYS[1]  -- ZSET  worker: expiry of its lease, in ms
local REPORTS = KEYS[2]  -- HASH  worker: text
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] then
  redis.call('ZADD', WORKERS, string.format('%.0f', now + ARGV[4]), ARGV[2])
  redis.call('HSET', REPORTS, ARGV[2], ARGV[3])
  -- When the last process has stopped, both keys expire.
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, string.format('%.0f', 60000 + ARGV[4]))
  end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', REPORTS, worker)
end
if not ARGV[2] then
  return redis.call('HGETALL', REPORTS)
end
