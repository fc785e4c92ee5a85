-- foreign.lua - shows foreign functions: four threads in sleep(3) at once.
--
--     build/examples/lua/vlua examples/lua/foreign.lua
--
-- While a C function runs, other threads of the script go on, and so do other
-- threads of its carrier.  Buffers are memory that C functions fill in.

local vthread = require "vthread"

print("the cosine of 0 is " .. vthread.call("libm.so.6", "cos", "d(d)", 0))

local name = vthread.buffer(256)
vthread.call(nil, "gethostname", "i(pz)", name, #name)
print("the host has a name: " .. tostring(#name:string():match("^%Z*") > 0))

local result, errno = vthread.call(nil, "rmdir", "i(s)", "/no such directory")
print("rmdir: " .. result .. ", errno " .. errno)

local sleep = vthread.foreign(nil, "sleep", "I(I)", "blocking")
local began = vthread.now()
local sleepers = {}
for i = 1, 4 do sleepers[i] = vthread.spawn(function()
    return (sleep(1))
end) end
local ticks = 0
for _, sleeper in ipairs(sleepers) do
    while not vthread.join(sleeper, 0.05) do ticks = ticks + 1 end
end
print("four slept a second each, together: "
    .. (vthread.now() - began < 3 and "yes" or "no"))
print("the script went on meanwhile: " .. (ticks > 5 and "yes" or "no"))
