"""The steps as the server runs them: each script is one atomic step.

ARGV begins with the run of the server that the caller means, the caller, a name that nothing has had, the seconds of `settle` and those of a scope's life, both in milliseconds.
What nobody may serve without stands in one key (`members`), so that an eviction takes all of it or nothing: the leases, when the quarantine ends
(`!born`), the highest clock seen (`!clock`), how many keys had been evicted (`!evicted`) and when that was last found to have grown (`!lost`). The
latter four are far above any lease, so that the lowest score is always a lease.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPTS"]

_PRELUDE: Final = """
local run, me, token, settle, life = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
-- Behind a proxy another server may answer on the same connection.
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. run, 1, true) then
  return redis.error_reply('RUN another server answers')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local FAR = 1e14

local function far(members, name)
  local score = redis.call('ZSCORE', members, name)
  return score and tonumber(score) - FAR
end

local function evicted()
  return tonumber(string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)'))
end

-- Until when marks that are not there may hold all the same, because they were evicted.
local function lost(members)
  local before, count = far(members, '!evicted'), evicted()
  if before == count then return far(members, '!lost') + settle end
  if before then redis.call('ZADD', members, FAR + count, '!evicted', FAR + now, '!lost') end
  return now + settle
end

-- The scope's name of its state. A scope that is not known may have been evicted, with marks that still hold.
local function known(members, scope)
  local name = redis.call('HGET', scope, 'g')
  if name then return name end
  redis.call('HSET', scope, 'g', token)
  local till = lost(members)
  if till > now then redis.call('HSET', scope, '?', till) end
  redis.call('PEXPIRE', scope, life)
  return token
end

local function marked(scope)
  if redis.call('HLEN', scope) == 1 then return false end
  local all, found = redis.call('HGETALL', scope), false
  for i = 1, #all, 2 do
    if all[i] ~= 'g' then
      if tonumber(all[i + 1]) < now then redis.call('HDEL', scope, all[i]) else found = true end
    end
  end
  return found
end

local function verdict(members)
  local mine = redis.call('ZSCORE', members, me)
  local born = far(members, '!born')
  if not born or not mine or tonumber(mine) < now then return 'lapsed' end
  if born > now or now + 100 < far(members, '!clock') then return 'quarantine' end
  if tonumber(redis.call('ZRANGE', members, 0, 0, 'WITHSCORES')[2]) < now then return 'waiting' end
  return 'serve'
end

local function named(key)
  local name = redis.call('GET', key)
  if name then return name end
  redis.call('SET', key, token, 'PX', life * 2)
  return token
end
"""

_READ: Final = """
local members, epoch, service, scope, entry = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local found = verdict(members)
if found ~= 'serve' then return {found} end
local stamp = named(epoch) .. named(service) .. known(members, scope)
if marked(scope) then return {'pending', stamp} end
local value = redis.call('GET', entry)
if not value or string.sub(value, 1, 24) ~= stamp then return {'serve', stamp} end
local phase = 'fresh'
if tonumber(string.sub(value, 38, 50)) <= now then
  phase = 'ended'
elseif tonumber(string.sub(value, 25, 37)) <= now and redis.call('SET', entry .. ':r', '', 'NX', 'PX', 10000) then
  phase = 'refresh'
end
return {'serve', stamp, value, phase}
"""

_KEEP: Final = """
local members, epoch, service, scope, entry = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local stamp, refresh, ends, drop, value = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]
if verdict(members) ~= 'serve' then return 0 end
local one, two, three = redis.call('GET', epoch), redis.call('GET', service), redis.call('HGET', scope, 'g')
if not one or not two or not three or one .. two .. three ~= stamp or marked(scope) then return 0 end
redis.call('SET', entry, stamp .. string.format('%013.0f%013.0f', now + refresh, now + ends) .. value, 'PX', drop)
return 1
"""

# Where memory is full, Redis lets a script write that has written before; taking away what is not there needs no memory.
_BEGIN: Final = """
for i = 2, #KEYS do
  redis.call('HDEL', KEYS[i], '')
  known(KEYS[1], KEYS[i])
  redis.call('HSET', KEYS[i], 'g', token, ARGV[6], now + settle)
  redis.call('PEXPIRE', KEYS[i], life)
end
return 1
"""

_END: Final = """
for i = 2, #KEYS do
  redis.call('HDEL', KEYS[i], ARGV[6])
  known(KEYS[1], KEYS[i])
  redis.call('HSET', KEYS[i], 'g', token)
  redis.call('PEXPIRE', KEYS[i], life)
end
return 1
"""

_RENEW: Final = """
local members, epoch = KEYS[1], KEYS[2]
local expires, lease, first, behind, quarantine = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == '1', ARGV[9] == '1', tonumber(ARGV[10])
if now >= expires or expires > now + lease + 50 then return {0, now, 0} end
redis.call('ZREM', members, '')
local function anew()
  redis.call('SET', epoch, token)
end
local born = far(members, '!born')
if not born then
  redis.call('DEL', members)
  born = now + quarantine
  redis.call('ZADD', members, FAR + born, '!born', FAR + now, '!clock', FAR + evicted(), '!evicted', FAR, '!lost')
  anew()
end
if now + 100 < far(members, '!clock') then
  -- Leases that were good until some time are good for longer than was meant.
  born = now + quarantine
  redis.call('ZADD', members, FAR + born, '!born')
  local all = redis.call('ZRANGE', members, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) < FAR then redis.call('ZADD', members, 'LT', now + lease, all[i]) end
  end
  anew()
end
redis.call('ZADD', members, FAR + now, '!clock')
if born > now then
  for i = 11, #ARGV do redis.call('ZADD', members, 'NX', now - 1, ARGV[i]) end
end
local mine = redis.call('ZSCORE', members, me)
if behind or (not mine and not first) or (mine and tonumber(mine) < now) then anew() end
if not mine or tonumber(mine) < expires then redis.call('ZADD', members, expires, me) end
redis.call('PEXPIRE', members, life * 2)
redis.call('PEXPIRE', epoch, life * 2)
local answer = {1, now, born}
local all = redis.call('ZRANGE', members, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) < FAR then
    table.insert(answer, all[i])
    table.insert(answer, tonumber(all[i + 1]))
  end
end
return answer
"""

_REMOVE: Final = """
local members, epoch, gone = KEYS[1], KEYS[2], false
for i = 6, #ARGV, 2 do
  local expires = tonumber(redis.call('ZSCORE', members, ARGV[i]) or FAR)
  if expires == tonumber(ARGV[i + 1]) and expires < now then
    redis.call('ZREM', members, ARGV[i])
    gone = true
  end
end
if not gone then return 0 end
redis.call('SET', epoch, token, 'PX', life * 2)
local born = far(members, '!born')
if born and born < now + settle then redis.call('ZADD', members, FAR + now + settle, '!born') end
return 1
"""

_LEAVE: Final = "return redis.call('ZREM', KEYS[1], me)"

_RETIRE: Final = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], token, 'PX', life * 2)
return 1
"""

SCRIPTS: Final = {
    name: (_PRELUDE + body).encode()
    for name, body in {
        "read": _READ,
        "keep": _KEEP,
        "begin": _BEGIN,
        "end": _END,
        "renew": _RENEW,
        "remove": _REMOVE,
        "leave": _LEAVE,
        "retire": _RETIRE,
    }.items()
}
