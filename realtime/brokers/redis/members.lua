-- KEYS people listed   ARGV token after limit   →  the JSON fields of each member
local clients = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[2], '+', 'LIMIT', 0, ARGV[3])
if #clients == 0 then
  return {}
end
return redis.call('HMGET', KEYS[1], unpack(clients))
