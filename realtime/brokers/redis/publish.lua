-- KEYS log meta seen   ARGV … kind json_tail seen_ms   →  {epoch, number, 1 if new}
local SEEN = KEYS[3]
local number = redis.call('GET', SEEN)
local epoch, top = position()
-- The number is stored without its epoch, since a restart from a snapshot gives the message a new
-- one.  A number above the top belongs to a lost log: then the message is published again.
if number and tonumber(number) <= top then
  return {epoch, number, 0}
end
epoch, number = append(ARGV[7], ARGV[8])
redis.call('SET', SEEN, number, 'PX', ARGV[9])
return {epoch, number, 1}
