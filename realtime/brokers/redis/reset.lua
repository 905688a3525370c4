-- KEYS log meta presence members people listed names   ARGV … id
-- Delete the log and start a new epoch, which every reader notices; then log a join per member.
redis.call('DEL', LOG, META, PRESENCE)
local fields = redis.call('HGETALL', PEOPLE)
local count = 0
for i = 1, #fields, 2 do
  local client = fields[i]
  if not client:match('[#!@]$') then
    count = count + 1
    -- Each join needs its own id: the UUID of the call, with the last four digits counted up.
    local id = ARGV[11]:sub(1, 32) .. string.format('%04x', count % 65536)
    append('join', '"id":"' .. id .. '",' .. fields[i + 1])
  end
end
position()
keep_meta()
