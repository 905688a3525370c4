-- The log of one room: the first part of every room script.  The line before this file sets
-- PUBLISH, the command that publishes an event.
-- Redis runs one script at a time: what a script reads cannot change before it writes.
-- A full Redis refuses a script at its first write, if that write needs memory, and only there.  So
-- a script that stores something must not start with a write that needs none, such as PEXPIRE.
-- Messages and presence (joins and quits) have one sequence of offsets, and a stream each: so the
-- joins of a room never push out its messages.
local LOG, META, PRESENCE = KEYS[1], KEYS[2], KEYS[3]
local NEW_EPOCH, CHANNEL = ARGV[1], ARGV[2]
local EVENTS, PRESENCE_EVENTS, ROOM_BYTES = tonumber(ARGV[3]), ARGV[8], tonumber(ARGV[9])
local LOG_MS, LOG_TTL_MS, META_MS, EMPTY_MS = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
-- The time of the shared clock (`clock.lua`), in ms.  Leases and history end by it, since the wall
-- clock may step.  Redis expires keys by its wall clock, so their TTLs are long enough for a step.
local NOW = tonumber(ARGV[10])
-- What the JSON of an event has besides what we store: its kind and its cursor.
local JSON_HEAD_BYTES = 64

-- Lua formats large numbers as 1e+15; ids and JSON need the digits.
local function digits(number) return string.format('%.0f', number) end

-- The wall clock, for readers.
local function published_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function offset_of(entry) return entry and tonumber(entry[1]:match('^%d+')) end

-- The offset of the newest event, for a log whose meta key is lost.
local function last_offset()
  local top = 0
  for _, stream in ipairs({LOG, PRESENCE}) do
    top = math.max(top, offset_of(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]) or 0)
  end
  return top
end

-- The run_id and the position are the slowest part of a script, so we read each once per script.
-- All messages from `known_first` on are kept: `known_count` messages, `known_bytes` bytes.
local known_run_id, known_epoch, known_top, known_first, known_count, known_bytes

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
  local meta = redis.call('HMGET', META, 'epoch', 'top', 'run_id', 'at', 'first', 'bytes')
  local epoch, top = meta[1], tonumber(meta[2] or last_offset())
  if not epoch or meta[3] ~= server_id() then
    epoch = NEW_EPOCH
    redis.call('HSET', META, 'epoch', epoch, 'top', digits(top), 'run_id', server_id())
    redis.call('PEXPIRE', META, top > 0 and META_MS or EMPTY_MS)
  end
  if meta[4] and NOW - meta[4] >= tonumber(LOG_MS) then
    redis.call('DEL', LOG, PRESENCE)
    redis.call('HDEL', META, 'at')
  end
  known_epoch, known_top = epoch, top
  known_first, known_bytes = tonumber(meta[5]), tonumber(meta[6] or 0)
  known_count = redis.call('XLEN', LOG)
  if known_count == 0 and (known_bytes > 0 or not known_first) then  -- it has expired, or is lost
    known_first, known_bytes = top + 1, 0
  elseif not known_first then  -- META is lost, and LOG is not
    local entries = redis.call('XRANGE', LOG, '-', '+')
    known_first = offset_of(entries[1])
    for _, entry in ipairs(entries) do
      known_bytes = known_bytes + #entry[2][4] + JSON_HEAD_BYTES
    end
    redis.call('HSET', META, 'first', digits(known_first), 'bytes', digits(known_bytes))
  end
  return epoch, top
end

-- A room without events expires soon: invented room names must not fill the memory.
local function keep_meta()
  local _, top = position()
  redis.call('PEXPIRE', META, top > 0 and META_MS or EMPTY_MS)
end

-- Drop the oldest messages, down to the bounds of a room; the newest one always stays.
local function trim()
  while known_count > EVENTS or (known_bytes > ROOM_BYTES and known_count > 1) do
    local oldest = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', LOG, oldest[1])
    known_count = known_count - 1
    known_bytes = math.max(0, known_bytes - #oldest[2][4] - JSON_HEAD_BYTES)
    known_first = offset_of(oldest) + 1
  end
end

-- Assign an offset to an event, store it, publish it.
local function append(kind, json_tail)
  local epoch, top = position()
  known_top = top + 1
  local offset = digits(known_top)
  json_tail = json_tail .. ',"published":' .. digits(published_ms()) .. '}'
  -- First, the command that Redis may refuse, because it is full or the stream has a wrong type:
  -- then nothing is written.
  if kind == 'say' then
    redis.call('XADD', LOG, offset .. '-0', 'kind', kind, 'rest', json_tail)
    known_count, known_bytes = known_count + 1, known_bytes + #json_tail + JSON_HEAD_BYTES
    trim()
  else
    redis.call('XADD', PRESENCE, 'MAXLEN', PRESENCE_EVENTS, offset .. '-0', 'kind', kind, 'rest', json_tail)
  end
  redis.call('PEXPIRE', LOG, LOG_TTL_MS)
  redis.call('PEXPIRE', PRESENCE, LOG_TTL_MS)
  redis.call('HSET', META, 'top', offset, 'at', digits(NOW),
    'first', digits(known_first), 'bytes', digits(known_bytes))
  redis.call('PEXPIRE', META, META_MS)
  redis.call(PUBLISH, CHANNEL, epoch .. '-' .. offset .. ' ' .. kind .. ' ' .. json_tail)
  return epoch, offset
end
