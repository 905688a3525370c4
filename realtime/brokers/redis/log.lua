-- The numbered log of one room, for the scripts that begin with this file; ANNOUNCE stands before.
-- A script runs alone on the server: what it reads cannot change before it writes.
local LOG, META = KEYS[1], KEYS[2]
local NEW_EPOCH, CHANNEL = ARGV[1], ARGV[2]
local EVENTS, LOG_MS, META_MS, EMPTY_MS = ARGV[3], ARGV[4], ARGV[5], ARGV[6]

-- Lua writes large numbers as 1e+15; ids and JSON want the digits.
local function digits(number) return string.format('%.0f', number) end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The number of the last entry, for a log that outlived its meta.
local function last_number()
  local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(last[1]:match('^%d+')) or 0
end

-- This and the position are looked up once a script, since they are the dearest part of it.
local known_run_id, known_epoch, known_top

local function server_id()
  known_run_id = known_run_id or redis.call('INFO', 'server'):match('run_id:(%x+)')
  return known_run_id
end

-- The epoch and the top.  Another run_id is another server: one that came back from an older
-- snapshot, or a replica that lagged when it was promoted.  It would give numbers away a second
-- time, and readers would skip real messages as old ones; a new epoch makes them look again.
local function position()
  if known_epoch then
    return known_epoch, known_top
  end
  local meta = redis.call('HMGET', META, 'epoch', 'top', 'run_id')
  local epoch, top = meta[1], tonumber(meta[2] or last_number())
  if not epoch or meta[3] ~= server_id() then
    epoch = NEW_EPOCH
    redis.call('HSET', META, 'epoch', epoch, 'top', digits(top), 'run_id', server_id())
  end
  -- A room where nothing was said is forgotten soon, or made-up names would fill the memory.
  redis.call('PEXPIRE', META, top > 0 and META_MS or EMPTY_MS)
  known_epoch, known_top = epoch, top
  return epoch, top
end

-- Number it, remember it, announce it.
local function append(kind, rest)
  local epoch, top = position()
  if top == 0 then
    redis.call('PEXPIRE', META, META_MS)
  end
  known_top = top + 1
  local number = digits(known_top)
  rest = rest .. ',"published":' .. digits(now_ms()) .. '}'
  redis.call('HSET', META, 'top', number)
  redis.call('XADD', LOG, 'MAXLEN', EVENTS, number .. '-0', 'kind', kind, 'rest', rest)
  redis.call('PEXPIRE', LOG, LOG_MS)
  redis.call(ANNOUNCE, CHANNEL, epoch .. '-' .. number .. ' ' .. kind .. ' ' .. rest)
  return epoch, number
end
