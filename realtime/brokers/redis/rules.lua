-- KEYS rules   ARGV token channel ms publish-command [field value …]   →  {field, value, …}
-- Set fields of the rules of a room, or delete those with an empty value, and announce it.
-- Without fields, only return them.
if ARGV[5] then
  for i = 5, #ARGV, 2 do
    if ARGV[i + 1] == '' then
      redis.call('HDEL', KEYS[1], ARGV[i])
    else
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call(ARGV[4], ARGV[2], 'rules')
end
return redis.call('HGETALL', KEYS[1])
