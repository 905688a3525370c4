-- KEYS log meta presence members people listed names
-- ARGV … client node_id json_tail id lease_ms 1-if-stream skeleton-of-the-name
local client, node_id, json_tail, id, lease_ms = ARGV[11], ARGV[12], ARGV[13], ARGV[14], ARGV[15]
repair_members(lease_ms)
-- A renewal stores nothing new, so a full Redis must accept it: see the first lines of `log.lua`.
if redis.call('ZSCORE', LEASES, client .. ' ' .. node_id) then
  redis.call('PEXPIRE', LEASES, META_MS)
end
extend_leases_after_restart(lease_ms)
local old = redis.call('HGET', PEOPLE, client)
local suffix = name_suffix(client, ARGV[17])
json_tail = number_name(json_tail, ',"via":', suffix)
local is_new = redis.call('ZADD', LEASES, digits(NOW + lease_ms), client .. ' ' .. node_id) == 1
if not old then
  append('join', '"id":"' .. id .. '",' .. json_tail)
end
if is_new then
  redis.call('HINCRBY', PEOPLE, client .. '#', 1)
end
local first = set_stream(client, node_id, ARGV[16] == '1')[1]
-- `via` follows the name: what is before it shows whether the name is the same.
local function named(json) return json:match('^(.*),"via":') end
local was_leaving = redis.call('HDEL', PEOPLE, client .. '!') == 1
local free = not old or was_leaving or named(old) == named(json_tail)
if first == node_id or (not first and free) then
  redis.call('HSET', PEOPLE, client, json_tail)
  take_name(client, ARGV[17] .. suffix)
end
list(client)
redis.call('PEXPIRE', LEASES, META_MS)
redis.call('PEXPIRE', PEOPLE, META_MS)
