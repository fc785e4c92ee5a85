-- parallel.lua - shows isolates: a computation on all processors.
--
--     build/examples/lua/vlua examples/lua/parallel.lua [ISOLATES]
--
-- Threads of one Lua state take turns.  An isolate has a state of its own and
-- runs beside the others; jobs and results are copied by channels.  Counts the
-- numbers below 200,000 that take more than 200 steps to come down to 1 by
-- Collatz's rule.

local vthread = require "vthread"
local count = tonumber(arg[1] or 2)
local limit, piece = 200000, 10000

local jobs = vthread.channel(0, "copy")
local results = vthread.channel(0, "copy")

local function work()
    local function steps(n)
        local count = 0
        while n ~= 1 do
            n = n % 2 == 0 and n // 2 or 3 * n + 1
            count = count + 1
        end
        return count
    end
    for job in jobs do
        local found = 0
        for n = job.first, job.last do
            if steps(n) > 200 then found = found + 1 end
        end
        results:send(found)
    end
end

local isolates = {}
for i = 1, count do isolates[i] = vthread.isolate(work) end
vthread.spawn(function()
    for first = 1, limit, piece do
        jobs:send {first = first, last = first + piece - 1}
    end
    jobs:close()
end)

local sum = 0
for _ = 1, limit // piece do sum = sum + results:receive() end
for _, isolate in ipairs(isolates) do vthread.join(isolate) end
print(sum .. " numbers below " .. limit .. " take more than 200 steps")
