-- KEYS log meta seen   ARGV … kind rest seen_ms   →  {epoch, number, 1 if new}
local SEEN = KEYS[3]
local number = redis.call('GET', SEEN)
local epoch, top = position()
-- The answer is remembered without its epoch: a server that came back from a snapshot knows the
-- message under a new one.  A number past the top is of a log that is lost: then say it again.
if number and tonumber(number) <= top then
  return {epoch, number, 0}
end
epoch, number = append(ARGV[7], ARGV[8])
redis.call('SET', SEEN, number, 'PX', ARGV[9])
return {epoch, number, 1}
