-- lua_cpu.lua - work for the processor, for bench/lua: calls, numbers, tables,
-- strings, closures, coroutines.  The argument is how much of it.

local rounds = tonumber(arg[1] or 1)

local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end

local function sieve(n)
    local is_composite, count = {}, 0
    for i = 2, n do
        if not is_composite[i] then
            count = count + 1
            for k = i * i, n, i do is_composite[k] = true end
        end
    end
    return count
end

local function sort(n)
    local t, seed = {}, 42
    for i = 1, n do
        seed = (seed * 1103515245 + 12345) % 2147483648
        t[i] = seed
    end
    table.sort(t, function(a, b) return a < b end)
    return t[1]
end

local function strings(n)
    local words = {}
    for i = 1, n do words[i] = ("word %d"):format(i):upper() end
    local text = table.concat(words, " ")
    local sum = 0
    for number in text:gmatch("%d+") do sum = sum + tonumber(number) end
    return sum, (text:gsub("WORD", "w"))
end

local function floats(n)
    local x = 0.5
    for _ = 1, n do x = 3.9 * x * (1 - x) end
    return x
end

local function coroutines(n)
    local co = coroutine.wrap(function()
        for i = 1, n do coroutine.yield(i) end
    end)
    local sum = 0
    for _ = 1, n do sum = sum + co() end
    return sum
end

local function objects(n)
    local class = {}
    class.__index = class
    function class:add(k) self.value = self.value + k return self end
    local object
    for i = 1, n do object = setmetatable({value = i}, class):add(1) end
    return object.value
end

for _ = 1, rounds do
    fib(27)
    sieve(400000)
    sort(60000)
    strings(60000)
    floats(4000000)
    coroutines(300000)
    objects(500000)
end
