-- KEYS clock   ARGV token now_ms ttl_ms   →  the time of the shared clock, in ms
-- All processes that share this Redis agree on one clock, which never goes back: each one adds the
-- time that it measured itself.  The wall clock of this Redis may step, so it gives only the start.
local now = math.max(tonumber(ARGV[2]), tonumber(redis.call('GET', KEYS[1]) or 0))
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
now = string.format('%.0f', now)
redis.call('SET', KEYS[1], now, 'PX', ARGV[3])
return now
