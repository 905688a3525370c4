-- KEYS log meta presence members people listed names   ARGV … id lease_ms   →  number of expired leases
repair_members(ARGV[12])
if redis.call('EXISTS', LEASES) == 0 then
  return 0
end
extend_leases_after_restart(ARGV[12])
-- At most 100 per call: many members that leave at once must not block the server.
local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', digits(NOW), 'LIMIT', 0, 100)
for i, lease in ipairs(expired) do
  redis.call('ZREM', LEASES, lease)
  local client, node_id = lease:match('^([^ ]+) (.*)$')
  set_stream(client, node_id, false)
  list(client)
  if redis.call('HINCRBY', PEOPLE, client .. '#', -1) <= 0 then
    local json_tail = redis.call('HGET', PEOPLE, client)
    redis.call('HDEL', PEOPLE, client, client .. '#', client .. '!', client .. '@')
    redis.call('ZREM', LISTED, client)
    release_name(client)
    -- Each quit needs its own id: the UUID of the call, with the last four digits counted up.
    local id = ARGV[11]:sub(1, 32) .. string.format('%04x', i)
    if json_tail then
      append('quit', '"id":"' .. id .. '",' .. json_tail)
    end
  end
end
return #expired
