"""The counters as Redis scripts: each call is one script, run by the server as one step.

Every answer is a list of whole numbers. Time is the server's own, so that all gateways agree about it.
"""

from __future__ import annotations

_WINDOWS = """local answer = {}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[i * 4 - 3]), tonumber(ARGV[i * 4 - 2])
  local cost, sliding = tonumber(ARGV[i * 4 - 1]), ARGV[i * 4] == '1'
  local admitted, remaining, left
  if sliding then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local held = redis.call('HMGET', key, 's', 'c', 'b')
    local since, count, before = tonumber(held[1]) or now, tonumber(held[2]) or 0, tonumber(held[3]) or 0
    local passed = now - since
    if passed >= 2 * window then
      since, count, before = now, 0, 0
    elseif passed >= window then
      since, count, before = since + window, 0, count
    end
    left = window - (now - since)
    local used = before * left / window + count
    admitted = used + cost <= limit
"""
_ANSWERS = """    admitted, remaining = count <= limit, limit - count
  end
  answer[#answer + 1] = admitted and 1 or 0
  answer[#answer + 1] = math.max(remaining, 0)
  answer[#answer + 1] = left
  if not admitted then break end
end
return answer
"""

TAKE = (
    """
-- KEYS: one for each window. ARGV: for each of them limit, milliseconds, cost, sliding (1 or 0).
-- Answers admitted, remaining and milliseconds to the end of each, up to the first that does not admit.
"""
    + _WINDOWS
    + """    if admitted then
      count, used = count + cost, used + cost
    end
    redis.call('HSET', key, 's', string.format('%.0f', since), 'c', count, 'b', before)
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(since + 2 * window - now, 1)))
    remaining = math.floor(limit - used)
  else
    local count = redis.call('INCRBY', key, cost)
    left = redis.call('PTTL', key)
    if left < 0 then
      redis.call('PEXPIRE', key, string.format('%.0f', window))
      left = window
    end
"""
    + _ANSWERS
)

WOULD_TAKE = (
    """
-- As TAKE, and nothing is kept.
"""
    + _WINDOWS
    + """    if admitted then used = used + cost end
    remaining = math.floor(limit - used)
  else
    local count = tonumber(redis.call('GET', key) or 0) + cost
    left = redis.call('PTTL', key)
    if left < 0 then left = window end
"""
    + _ANSWERS
)

_LEAKING = """local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[1], 'e', 't')
local excess = 0
if held[1] then
  excess = tonumber(held[1]) - rate * (now - tonumber(held[2])) / 1000000 + 1
  if excess > burst then return {-1} end
  excess = math.max(excess, 0)
end
"""
_WAIT = """return {math.ceil(excess / rate * 1000000)}
"""

LEAK = (
    """
-- KEYS: the bucket. ARGV: rate per second, burst. Answers microseconds to wait, or -1.
"""
    + _LEAKING
    + """redis.call('HSET', KEYS[1], 'e', string.format('%.9f', excess), 't', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((excess + 1) / rate * 1000)))
"""
    + _WAIT
)

WOULD_LEAK = (
    """
-- As LEAK, and nothing is poured in.
"""
    + _LEAKING
    + _WAIT
)

ENTER = """
-- KEYS: who is in. ARGV: limit, token, milliseconds. Answers how many are in now, or 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local inside = redis.call('ZCARD', KEYS[1])
if inside >= tonumber(ARGV[1]) then return {0} end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {inside + 1}
"""

WOULD_ENTER = """
-- As ENTER, and nobody enters. KEYS: who is in. ARGV: limit.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local inside = redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
if inside >= tonumber(ARGV[1]) then return {0} end
return {inside + 1}
"""

LEAVE = """
-- KEYS: who is in. ARGV: token.
return {redis.call('ZREM', KEYS[1], ARGV[1])}
"""
