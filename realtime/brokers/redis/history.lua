-- KEYS log meta   ARGV … epoch offset limit   →  {epoch, top, first, {offset, kind, json_tail, …}}
local epoch, top = position()
keep_meta()
local after = ARGV[9] == epoch and tonumber(ARGV[10]) or 0
local oldest = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
local first = oldest and oldest[1]:match('^%d+') or digits(top + 1)
local flat = {}
for _, entry in ipairs(redis.call('XRANGE', LOG, digits(after + 1) .. '-0', '+', 'COUNT', ARGV[11])) do
  local fields = entry[2]
  table.insert(flat, entry[1]:match('^%d+'))
  table.insert(flat, fields[2])
  table.insert(flat, fields[4])
end
return {epoch, digits(top), first, flat}
