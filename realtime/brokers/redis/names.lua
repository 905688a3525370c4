-- The names in use in a room, as `core/names.py` explains them.
local NAMES = KEYS[#KEYS]  -- HASH  :skeleton with its number: client,  @client: the same skeleton

-- What is shown after a name if this client uses it: nothing, or its number.
local function name_suffix(client, skeleton)
  if skeleton == '' then
    return ''
  end
  local found = redis.call('HMGET', NAMES, '@' .. client, ':' .. skeleton)
  local own, holder = found[1], found[2]
  if own and own:sub(1, #skeleton) == skeleton then
    local rest = own:sub(#skeleton + 1)
    if rest == '' or rest:match('^ %(%d+%)$') then
      return rest
    end
  end
  local number, suffix = 1, ''
  while holder and holder ~= client do
    number = number + 1
    suffix = ' (' .. digits(number) .. ')'
    holder = redis.call('HGET', NAMES, ':' .. skeleton .. suffix)
  end
  return suffix
end

-- Add the suffix to the name in the JSON of an event.  `follows` is the field after the name: no
-- string contains it, since JSON escapes quotes.
local function number_name(json_tail, follows, suffix)
  local at = suffix ~= '' and json_tail:find(follows, 1, true)
  return at and json_tail:sub(1, at - 2) .. suffix .. json_tail:sub(at - 1) or json_tail
end

local function release_name(client)
  local own = redis.call('HGET', NAMES, '@' .. client)
  if own then
    redis.call('HDEL', NAMES, '@' .. client, ':' .. own)
  end
end

local function take_name(client, shown)
  if redis.call('HGET', NAMES, '@' .. client) ~= shown then
    release_name(client)
    redis.call('HSET', NAMES, '@' .. client, shown, ':' .. shown, client)
  end
  redis.call('PEXPIRE', NAMES, META_MS)
end
