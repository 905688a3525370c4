-- KEYS workers reports   ARGV token now_ms [worker text ms]   →  {worker, text, …} without a worker
-- The report of each server process, kept as long as its lease, by the shared clock (`clock.lua`).
local WORKERS = KEYS[1]  -- ZSET  worker: expiry of its lease, in ms
local REPORTS = KEYS[2]  -- HASH  worker: text
local now = tonumber(ARGV[2])
if ARGV[3] then
  redis.call('ZADD', WORKERS, string.format('%.0f', now + ARGV[5]), ARGV[3])
  redis.call('HSET', REPORTS, ARGV[3], ARGV[4])
  -- When the last process has stopped, both keys expire: in three hours, by the wall clock of this
  -- Redis, which may step by two.
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, string.format('%.0f', 10800000 + ARGV[5]))
  end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', REPORTS, worker)
end
if not ARGV[3] then
  return redis.call('HGETALL', REPORTS)
end
