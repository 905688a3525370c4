-- Leases of members, for the scripts that start with `log.lua` and this file.
-- Several server processes may serve one client at once (two tabs, or a page that reloads at
-- another process).  So a lease belongs to a client *and* a node (one server process), and a member
-- quits when its last lease ends.
local LEASES = KEYS[4]  -- ZSET  "client node_id": expiry, in ms of the shared clock
local PEOPLE = KEYS[5]  -- HASH  client: JSON fields,  client#: number of leases,  client!: leaving

-- If one of the two keys was evicted or deleted, make the other one consistent.  Without PEOPLE the
-- leases have no member: those who are here renew soon, and join again.  Without LEASES each member
-- receives one lease more: those who are gone quit when it ends.
local function repair_members(lease_ms)
  local has_leases = #redis.call('ZRANGE', LEASES, 0, 0) == 1
  local has_people = redis.call('EXISTS', PEOPLE) == 1
  if has_leases == has_people then
    return
  end
  if has_leases then
    redis.call('DEL', LEASES)
    return
  end
  for _, client in ipairs(redis.call('HKEYS', PEOPLE)) do
    if not client:match('[#!]$') then
      redis.call('ZADD', LEASES, digits(NOW + lease_ms), client .. ' lost')
      redis.call('HSET', PEOPLE, client .. '#', 1)
    end
  end
  redis.call('PEXPIRE', LEASES, META_MS)
end

-- After a restart from an older snapshot, all leases have expired.  That does not mean that the
-- members left: each receives one full lease more.
local function extend_leases_after_restart(lease_ms)
  if redis.call('HGET', META, 'leases') == server_id() then
    return
  end
  for _, lease in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    redis.call('ZADD', LEASES, 'GT', digits(NOW + lease_ms), lease)
  end
  redis.call('HSET', META, 'leases', server_id())
  redis.call('PEXPIRE', META, META_MS)
end
