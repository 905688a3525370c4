-- KEYS log meta presence   ARGV … epoch offset limit
--   →  {epoch, top, first, {offset, kind, json_tail, …}, 1 if there is more}
local epoch, top = position()
local limit = tonumber(ARGV[13])
local after = math.max(ARGV[11] == epoch and tonumber(ARGV[12]) or 0, known_first - 1)
local streams = {}
for _, stream in ipairs({LOG, PRESENCE}) do
  table.insert(streams, redis.call('XRANGE', stream, digits(after + 1) .. '-0', '+', 'COUNT', limit + 1))
end
-- Merge both streams, in the order of their offsets.
local flat, next_of = {}, {1, 1}
local count = math.min(limit, #streams[1] + #streams[2])
for _ = 1, count do
  local offsets = {offset_of(streams[1][next_of[1]]), offset_of(streams[2][next_of[2]])}
  local i = (not offsets[2] or (offsets[1] and offsets[1] < offsets[2])) and 1 or 2
  local fields = streams[i][next_of[i]][2]
  next_of[i] = next_of[i] + 1
  table.insert(flat, digits(offsets[i]))
  table.insert(flat, fields[2])
  table.insert(flat, fields[4])
end
keep_meta()
return {epoch, digits(top), digits(known_first), flat, #streams[1] + #streams[2] > count and 1 or 0}
