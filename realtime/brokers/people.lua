-- Leases, for the scripts that begin with `log.lua` and this file.
-- A client may be held by several processes at once (two tabs, or a reload that lands elsewhere),
-- so a lease belongs to a client *and* a holder, and somebody has quit when the last one ended.
local LEASES = KEYS[3]  -- ZSET  "client holder": when it ends, in ms
local PEOPLE = KEYS[4]  -- HASH  client: JSON fields,  client#: number of leases,  client!: leaving
