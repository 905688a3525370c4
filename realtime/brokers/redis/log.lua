-- The log of one room: the first part of every room script.  The line before this file sets
-- PUBLISH, the command that publishes an event.
-- Redis runs one script at a time: what a script reads cannot change before it writes.
local LOG, META = KEYS[1], KEYS[2]
local NEW_EPOCH, CHANNEL = ARGV[1], ARGV[2]
local EVENTS, LOG_MS, LOG_TTL_MS, META_MS, EMPTY_MS = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
-- The time of the shared clock (`clock.lua`), in ms.  Leases and history end by it, since the wall
-- clock may step.  Redis expires keys by its wall clock, so their TTLs are long enough for a step.
local NOW = tonumber(ARGV[8])

-- Lua formats large numbers as 1e+15; ids and JSON need the digits.
local function digits(number) return string.format('%.0f', number) end

-- The wall clock, for readers.
local function published_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The offset of the newest event, for a log whose meta key is lost.
local function last_offset()
  local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(last[1]:match('^%d+')) or 0
end

-- The run_id and the position are the slowest part of a script, so we read each once per script.
local known_run_id, known_epoch, known_top

local function server_id()
  known_run_id = known_run_id or redis.call('INFO', 'server'):match('run_id:(%x+)')
  return known_run_id
end

-- The epoch and the offset of the newest event.  Another run_id means another server process: one
-- that restarted from an older snapshot, or a replica that lagged when it was promoted.  It would
-- assign offsets a second time, and readers would skip real messages as duplicates.  So it starts a
-- new epoch, which makes readers fetch the history again.
local function position()
  if known_epoch then
    return known_epoch, known_top
  end
  local meta = redis.call('HMGET', META, 'epoch', 'top', 'run_id', 'at')
  local epoch, top = meta[1], tonumber(meta[2] or last_offset())
  if not epoch or meta[3] ~= server_id() then
    epoch = NEW_EPOCH
    redis.call('HSET', META, 'epoch', epoch, 'top', digits(top), 'run_id', server_id())
    redis.call('PEXPIRE', META, top > 0 and META_MS or EMPTY_MS)
  end
  if meta[4] and NOW - meta[4] >= tonumber(LOG_MS) then
    redis.call('DEL', LOG)
    redis.call('HDEL', META, 'at')
  end
  known_epoch, known_top = epoch, top
  return epoch, top
end

-- A room without events expires soon: invented room names must not fill the memory.
local function keep_meta()
  local _, top = position()
  redis.call('PEXPIRE', META, top > 0 and META_MS or EMPTY_MS)
end

-- Assign an offset to an event, store it, publish it.
local function append(kind, json_tail)
  local epoch, top = position()
  known_top = top + 1
  local offset = digits(known_top)
  json_tail = json_tail .. ',"published":' .. digits(published_ms()) .. '}'
  -- First, the command that Redis may refuse, because it is full or LOG has a wrong type: then
  -- nothing is written.  After the first write of a script, a full Redis refuses no other.
  redis.call('XADD', LOG, 'MAXLEN', EVENTS, offset .. '-0', 'kind', kind, 'rest', json_tail)
  redis.call('PEXPIRE', LOG, LOG_TTL_MS)
  redis.call('HSET', META, 'top', offset, 'at', digits(NOW))
  redis.call('PEXPIRE', META, META_MS)
  redis.call(PUBLISH, CHANNEL, epoch .. '-' .. offset .. ' ' .. kind .. ' ' .. json_tail)
  return epoch, offset
end
