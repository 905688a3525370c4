-- KEYS log meta members people   ARGV … client holder rest id lease_ms
local client, holder, rest, id, lease_ms = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
own_leases(lease_ms)
if redis.call('ZADD', LEASES, now_ms() + lease_ms, client .. ' ' .. holder) == 1 then
  redis.call('HINCRBY', PEOPLE, client .. '#', 1)
end
local known = redis.call('HEXISTS', PEOPLE, client) == 1
redis.call('HSET', PEOPLE, client, rest)
redis.call('HDEL', PEOPLE, client .. '!')
redis.call('PEXPIRE', LEASES, META_MS)
redis.call('PEXPIRE', PEOPLE, META_MS)
if not known then
  append('join', '"id":"' .. id .. '",' .. rest)
end
