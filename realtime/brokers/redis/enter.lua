-- KEYS log meta presence members people   ARGV … client node_id json_tail id lease_ms
local client, node_id, json_tail, id, lease_ms = ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
-- A renewal stores nothing new, so a full Redis must accept it: see the first lines of `log.lua`.
if redis.call('ZSCORE', LEASES, client .. ' ' .. node_id) then
  redis.call('PEXPIRE', LEASES, META_MS)
end
extend_leases_after_restart(lease_ms)
if redis.call('ZADD', LEASES, now_ms() + lease_ms, client .. ' ' .. node_id) == 1 then
  redis.call('HINCRBY', PEOPLE, client .. '#', 1)
end
local is_member = redis.call('HEXISTS', PEOPLE, client) == 1
redis.call('HSET', PEOPLE, client, json_tail)
redis.call('HDEL', PEOPLE, client .. '!')
redis.call('PEXPIRE', LEASES, META_MS)
redis.call('PEXPIRE', PEOPLE, META_MS)
if not is_member then
  append('join', '"id":"' .. id .. '",' .. json_tail)
end
