-- hello.lua - shows spawn, join and sleep: a hundred threads sleep together.
--
--     build/examples/lua/vlua examples/lua/hello.lua

local vthread = require "vthread"

local function greet(number)
    vthread.sleep(0.1)
    return "hello from thread " .. number
end

local began = vthread.now()
local threads = {}
for number = 1, 100 do
    threads[number] = vthread.spawn(greet, number)
end
for number = 1, 100 do
    local greeting = vthread.join(threads[number])
    if number % 25 == 0 then print(greeting) end
end
print(string.format("100 threads slept 0.1 s each, together: %s",
    vthread.now() - began < 2 and "yes" or "no"))
