-- pipeline.lua - shows channels and select: primes by a chain of threads.
--
--     build/examples/lua/vlua examples/lua/pipeline.lua [COUNT]
--
-- Each thread of the sieve keeps a prime, and passes on what that does not
-- divide.  The main thread takes primes until it has enough, or a second is
-- over.

local vthread = require "vthread"
local wanted = tonumber(arg[1] or 100)

local function count_up(out)
    local number = 2
    while out:send(number) do number = number + 1 end
end

local function filter(prime, numbers, out)
    for number in numbers do
        if number % prime ~= 0 and not out:send(number) then break end
    end
    numbers:close()
end

local late = vthread.channel()
vthread.spawn(function() vthread.sleep(60) late:close() end)

local numbers = vthread.channel()
vthread.spawn(count_up, numbers)
local primes = {}
while #primes < wanted do
    local which, prime = vthread.select({numbers, late})
    if which == 2 then break end
    primes[#primes + 1] = prime
    local rest = vthread.channel()
    vthread.spawn(filter, prime, numbers, rest)
    numbers = rest
end
print(#primes .. " primes, the last is " .. primes[#primes])
os.exit(true)
