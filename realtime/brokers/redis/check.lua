-- KEYS key another-key   ARGV token channel publish-command   →  {} or {command, error}
-- Run every command that the other scripts need, and return the first one that Redis refuses: in
-- the error of a script, Redis does not name it.  A test compares this list with the scripts.
-- The other key is not used: Redis checks that our user may access all keys that are passed.
local KEY = KEYS[1]
local refused

local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err and not refused then
    refused = {command, reply.err}
  end
  return reply
end

-- First, a command that a full Redis refuses: after the first write of a script it refuses none.
try('SET', KEY, '1', 'PX', 60000)
try('GET', KEY)
try('EXISTS', KEY)
try('TYPE', KEY)
try('PEXPIRE', KEY, 60000)
try('DEL', KEY)
try('HSET', KEY, 'field', '1')
try('HINCRBY', KEY, 'field', 1)
try('HGET', KEY, 'field')
try('HMGET', KEY, 'field')
try('HEXISTS', KEY, 'field')
try('HKEYS', KEY)
try('HLEN', KEY)
try('HGETALL', KEY)
try('HDEL', KEY, 'field')
try('DEL', KEY)
try('ZADD', KEY, 1, 'member')
try('ZSCORE', KEY, 'member')
try('ZRANGE', KEY, 0, -1)
try('ZRANGEBYSCORE', KEY, '-inf', 1)
try('ZRANGEBYLEX', KEY, '-', '+')
try('ZCARD', KEY)
try('ZREM', KEY, 'member')
try('DEL', KEY)
try('XADD', KEY, '1-0', 'field', '1')
try('XRANGE', KEY, '-', '+')
try('XREVRANGE', KEY, '+', '-', 'COUNT', 1)
try('XLEN', KEY)
try('XDEL', KEY, '1-0')
try('DEL', KEY)
try('TIME')
try('PING')
try('SCAN', 0, 'COUNT', 1)
local info = try('INFO', 'server')
if type(info) == 'string' and not info:match('run_id:%x') and not refused then
  refused = {'INFO', 'the reply has no run_id'}
end
try(ARGV[3], ARGV[2], '')
return refused or {}
