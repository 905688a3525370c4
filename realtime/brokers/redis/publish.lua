-- KEYS log meta presence seen names   ARGV … kind json_tail seen_ms client skeleton   →  {epoch, offset, 1 if new}
local SEEN = KEYS[4]
local offset = redis.call('GET', SEEN)
local epoch, top = position()
-- The offset is stored without its epoch, since a restart from a snapshot gives the message a new
-- one.  An offset above the top belongs to a lost log: then the message is published again.
if offset and tonumber(offset) <= top then
  return {epoch, offset, 0}
end
local suffix = name_suffix(ARGV[14], ARGV[15])
epoch, offset = append(ARGV[11], number_name(ARGV[12], ',"text":', suffix))
redis.call('SET', SEEN, offset, 'PX', ARGV[13])
return {epoch, offset, 1}
