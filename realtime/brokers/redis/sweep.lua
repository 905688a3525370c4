-- KEYS log meta members people   ARGV … id lease_ms   →  how many leases ended
if redis.call('EXISTS', LEASES) == 0 then
  return 0
end
own_leases(ARGV[8])
-- At most 100 a call, so that a crowd that leaves at once does not hold the server up.
local ended = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now_ms(), 'LIMIT', 0, 100)
for i, lease in ipairs(ended) do
  redis.call('ZREM', LEASES, lease)
  local client = lease:match('^[^ ]+')
  if redis.call('HINCRBY', PEOPLE, client .. '#', -1) <= 0 then
    local rest = redis.call('HGET', PEOPLE, client)
    redis.call('HDEL', PEOPLE, client, client .. '#', client .. '!')
    -- Each quit needs an id of its own: the call's UUID, its last four digits counted up.
    append('quit', '"id":"' .. ARGV[7]:sub(1, 32) .. string.format('%04x', i) .. '",' .. rest)
  end
end
return #ended
