-- KEYS log meta presence members people   ARGV … client node_id json_tail id lease_ms
local client, node_id, json_tail, id, lease_ms = ARGV[11], ARGV[12], ARGV[13], ARGV[14], ARGV[15]
repair_members(lease_ms)
-- A renewal stores nothing new, so a full Redis must accept it: see the first lines of `log.lua`.
if redis.call('ZSCORE', LEASES, client .. ' ' .. node_id) then
  redis.call('PEXPIRE', LEASES, META_MS)
end
extend_leases_after_restart(lease_ms)
local is_member = redis.call('HEXISTS', PEOPLE, client) == 1
local is_new = redis.call('ZADD', LEASES, digits(NOW + lease_ms), client .. ' ' .. node_id) == 1
if not is_member then
  append('join', '"id":"' .. id .. '",' .. json_tail)
end
if is_new then
  redis.call('HINCRBY', PEOPLE, client .. '#', 1)
end
redis.call('HSET', PEOPLE, client, json_tail)
redis.call('HDEL', PEOPLE, client .. '!')
redis.call('PEXPIRE', LEASES, META_MS)
redis.call('PEXPIRE', PEOPLE, META_MS)
