-- KEYS key, …   →  the type of each key
local types = {}
for i, key in ipairs(KEYS) do
  types[i] = redis.call('TYPE', key).ok
end
return types
