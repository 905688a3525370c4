-- Leases, for the scripts that begin with `log.lua` and this file.
-- A client may be held by several processes at once (two tabs, or a reload that lands elsewhere),
-- so a lease belongs to a client *and* a holder, and somebody has quit when the last one ended.
local LEASES = KEYS[3]  -- ZSET  "client holder": when it ends, in ms
local PEOPLE = KEYS[4]  -- HASH  client: JSON fields,  client#: number of leases,  client!: leaving

-- A server that was away, or came back with an older memory, finds all leases ended, since nobody
-- could renew them.  That says nothing about the people: each has a whole lease to be heard again.
local function own_leases(lease_ms)
  if redis.call('HGET', META, 'leases') == server_id() then
    return
  end
  for _, lease in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    redis.call('ZADD', LEASES, 'GT', digits(now_ms() + lease_ms), lease)
  end
  redis.call('HSET', META, 'leases', server_id())
  redis.call('PEXPIRE', META, META_MS)
end
