-- Leases of members, for the scripts that start with `log.lua` and this file.
-- Several server processes may serve one client at once (two tabs, or a page that reloads at
-- another process).  So a lease belongs to a client *and* a node (one server process), and a member
-- quits when its last lease ends.
local LEASES = KEYS[4]  -- ZSET  "client node_id": expiry, in ms
local PEOPLE = KEYS[5]  -- HASH  client: JSON fields,  client#: number of leases,  client!: leaving

-- After an outage, or a restart from an older snapshot, all leases have expired, because no process
-- could renew them.  That does not mean that the members left: each receives one full lease more.
local function extend_leases_after_restart(lease_ms)
  if redis.call('HGET', META, 'leases') == server_id() then
    return
  end
  for _, lease in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    redis.call('ZADD', LEASES, 'GT', digits(now_ms() + lease_ms), lease)
  end
  redis.call('HSET', META, 'leases', server_id())
  redis.call('PEXPIRE', META, META_MS)
end
