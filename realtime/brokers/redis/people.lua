-- Leases of members, for the scripts that start with `log.lua`, `names.lua` and this file.
-- Several server processes may serve one client at once (two tabs, or a page that reloads at
-- another process).  So a lease belongs to a client *and* a node (one server process), and a member
-- quits when its last lease ends.
local LEASES = KEYS[4]  -- ZSET  "client node_id": expiry, in ms of the shared clock
local PEOPLE = KEYS[5]  -- HASH  client: JSON fields,  client#: number of leases,  client!: leaving,
                        --       client@: the nodes where it has an open stream, the oldest first
local LISTED = KEYS[6]  -- ZSET  client: 0, so that pages of members are in the order of their ids

-- Add a node to those where a client has an open stream, or remove it; return them.
local function set_stream(client, node_id, is_open)
  local old, nodes = redis.call('HGET', PEOPLE, client .. '@') or '', {}
  for node in old:gmatch('%S+') do
    if node ~= node_id or is_open then
      table.insert(nodes, node)
    end
    is_open = is_open and node ~= node_id
  end
  if is_open then
    table.insert(nodes, node_id)
  end
  local new = table.concat(nodes, ' ')
  if new == '' then
    redis.call('HDEL', PEOPLE, client .. '@')
  elseif new ~= old then
    redis.call('HSET', PEOPLE, client .. '@', new)
  end
  return nodes
end

-- A client that leaves is off the list, unless a stream of it is open.
local function list(client)
  local leaving = redis.call('HEXISTS', PEOPLE, client .. '!') == 1
  if leaving and redis.call('HEXISTS', PEOPLE, client .. '@') == 0 then
    redis.call('ZREM', LISTED, client)
  else
    redis.call('ZADD', LISTED, 0, client)
    redis.call('PEXPIRE', LISTED, META_MS)
  end
end

-- If one of the two keys was evicted or deleted, make the other one consistent.  Without PEOPLE the
-- leases have no member: those who are here renew soon, and join again.  Without LEASES each member
-- receives one lease more: those who are gone quit when it ends.
local function repair_members(lease_ms)
  local has_leases = #redis.call('ZRANGE', LEASES, 0, 0) == 1
  local has_people = redis.call('EXISTS', PEOPLE) == 1
  if has_leases == has_people then
    if not has_leases and redis.call('EXISTS', LISTED, NAMES) > 0 then
      redis.call('DEL', LISTED, NAMES)
    end
    return
  end
  if has_leases then
    redis.call('DEL', LEASES, LISTED, NAMES)
    return
  end
  for _, client in ipairs(redis.call('HKEYS', PEOPLE)) do
    if not client:match('[#!@]$') then
      redis.call('ZADD', LEASES, digits(NOW + lease_ms), client .. ' lost')
      redis.call('HSET', PEOPLE, client .. '#', 1)
      redis.call('HDEL', PEOPLE, client .. '@')  -- a stream without a lease would never end
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
