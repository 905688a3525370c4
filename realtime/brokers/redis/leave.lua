-- KEYS log meta presence members people listed names   ARGV … client node_id-or-empty ms
local client, node_id, expiry = ARGV[11], ARGV[12], digits(NOW + ARGV[13])
if redis.call('HEXISTS', PEOPLE, client) == 0 then
  return
end
redis.call('PEXPIRE', LEASES, META_MS)  -- first, so that a full Redis accepts the rest
if node_id ~= '' then
  set_stream(client, node_id, false)
  -- XX LT: this only shortens a lease; it never creates or extends one.
  redis.call('ZADD', LEASES, 'XX', 'LT', expiry, client .. ' ' .. node_id)
  list(client)
  return
end
redis.call('HSET', PEOPLE, client .. '!', 1)
local held = {}
for node in (redis.call('HGET', PEOPLE, client .. '@') or ''):gmatch('%S+') do
  held[client .. ' ' .. node] = true
end
for _, lease in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  if lease:sub(1, #client + 1) == client .. ' ' and not held[lease] then
    redis.call('ZADD', LEASES, 'XX', 'LT', expiry, lease)
  end
end
list(client)
