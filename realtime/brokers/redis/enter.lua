-- KEYS log meta members people   ARGV … client node_id json_tail id lease_ms
local client, node_id, json_tail, id, lease_ms = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
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
