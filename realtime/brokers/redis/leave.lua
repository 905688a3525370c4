-- KEYS log meta members people listed   ARGV … client node_id-or-empty ms
local client, node_id, expiry = ARGV[9], ARGV[10], digits(NOW + ARGV[11])
if redis.call('HEXISTS', PEOPLE, client) == 0 then
  return
end
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
