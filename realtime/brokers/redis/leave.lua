-- KEYS log meta members people   ARGV … client holder-or-empty ms
local client, holder, ends = ARGV[7], ARGV[8], digits(now_ms() + ARGV[9])
if redis.call('HEXISTS', PEOPLE, client) == 0 then
  return
end
if holder ~= '' then
  -- XX LT: a lease is only ever cut short here, never made or made longer.
  redis.call('ZADD', LEASES, 'XX', 'LT', ends, client .. ' ' .. holder)
  return
end
redis.call('HSET', PEOPLE, client .. '!', 1)
for _, lease in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  if lease:sub(1, #client + 1) == client .. ' ' then
    redis.call('ZADD', LEASES, 'XX', 'LT', ends, lease)
  end
end
