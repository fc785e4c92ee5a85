-- copies_test.lua - isolates, and what is copied from state to state.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local claim, same, fails = claims.claim, claims.same, claims.fails

local function through(...)
    return vthread.join(vthread.isolate(function(...) return ... end, ...))
end

claim("plain values arrive as they are", function()
    for _, value in ipairs {1, -1, 1.5, 0.0, math.mininteger, math.huge, "",
        "x\0y", ("long"):rep(10000), true, false} do
        local got = through(value)
        same(value, got)
        same(math.type(value), math.type(got))
    end
    local a, b, c = through(nil, 2, nil)
    same(nil, a)
    same(2, b)
    same(0, select("#", through()))
    same(3, select("#", through(nil, nil, nil)))
end)

claim("tables are copied, with circles and what they share", function()
    local inner = {5}
    local t = {1, 2, [true] = "yes", [1.5] = {}, a = inner, b = inner}
    t.self = t
    local copy = through(t)
    assert(copy ~= t and copy.self == copy)
    same(copy.a, copy.b)
    same(5, copy.a[1])
    same("yes", copy[true])
    same(2, #copy)
    local x, y = through(inner, inner)
    assert(x == y and x ~= inner)
end)

claim("functions are copied, with their upvalues", function()
    local base, list = 10, {1, 2}
    local function add(n) return base + n + #list end
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    local f, g = through(add, fib)
    same(13, f(1))
    same(55, g(10))
    base = 20
    same(13, f(1))
    local function counter()
        base = base + 1
        return base
    end
    same(21, vthread.join(vthread.isolate(counter)))
    same(20, base)
end)

claim("globals are those of the isolate", function()
    global_of_test = 1
    same(nil, vthread.join(vthread.isolate(function()
        local before = global_of_test
        global_of_test = 2
        return before
    end)))
    same(1, global_of_test)
    same(_G, (through(_G)))
    global_of_test = nil
end)

claim("modules and their functions go by name, C functions as they are",
    function()
        local s, sleep, insert, floor = string, vthread.sleep, table.insert,
            math.floor
        local connect = vthread.tcp.connect
        same("X 3", vthread.join(vthread.isolate(function()
            sleep(0)
            local t = {}
            insert(t, s.upper("x"))
            assert(vthread.sleep == sleep)
            assert(vthread.tcp.connect == connect)
            return t[1] .. " " .. floor(3.5)
        end)))
        same(string, (through(string)))
        same(vthread.channel, (through(vthread.channel)))
        same(print, (through(print)))
    end)

claim("what cannot go is refused, and said", function()
    fails("thread cannot go to another state", through,
        coroutine.create(print))
    fails("userdata cannot go to another state", through, io.stdout)
    fails("it has a metatable", through, {setmetatable({}, {})})
    fails("C function with upvalues", through, ("x"):gmatch("."))
    fails("channel of this state", through, vthread.channel())
    fails("thread cannot go", vthread.isolate, function() return co end and
        (function() local co = coroutine.create(print)
            return function() return co end end)())
    local deep = {}
    for _ = 1, 1000 do deep = {deep} end
    fails("levels", through, deep)
    fails("userdata cannot go", vthread.join, (vthread.isolate(function()
        local t = require("vthread")
        t.sleep(0.01)
        return io.stdout
    end)))
end)

claim("an error carries the stack of the isolate and that of its spawner",
    function()
        local function start()
            local thread = vthread.isolate(function()
                local function innermost() error("deep") end
                require("vthread").sleep(0.01)
                innermost()
            end)
            return thread
        end
        local ok, message = pcall(vthread.join, start())
        assert(message:find("copies_test.lua:%d+: deep"), message)
        assert(message:find("innermost"), message)
        assert(message:find("spawned by:.*start"), message)
    end)

claim("channels that copy go between states, both ways", function()
    local jobs, results = vthread.channel(2, "copy"),
        vthread.channel(2, "copy")
    local isolates = {}
    for i = 1, 3 do
        isolates[i] = vthread.isolate(function()
            local done = 0
            for job in jobs do
                results:send {job.n, job.n * job.n}
                done = done + 1
            end
            return done
        end)
    end
    vthread.spawn(function()
        for n = 1, 100 do jobs:send {n = n} end
        jobs:close()
    end)
    local sum = 0
    for _ = 1, 100 do sum = sum + results:receive()[2] end
    same(338350, sum)
    local done = 0
    for _, isolate in ipairs(isolates) do done = done + isolate:join() end
    same(100, done)
end)

claim("a channel goes through a channel", function()
    local outer = vthread.channel(0, "copy")
    local isolate = vthread.isolate(function()
        local answer = outer:receive()
        answer:send("hello")
    end)
    local inner = vthread.channel(0, "copy")
    outer:send(inner)
    same("hello", inner:receive())
    isolate:join()
end)

claim("a connection goes to an isolate, and a listener", function()
    local listener = vthread.tcp.listen("127.0.0.1", 0)
    local _, port = listener:address()
    local server = vthread.isolate(function()
        local connection = listener:accept()
        connection:write(connection:read("l"), "!\n")
    end)
    local connection = assert(vthread.tcp.connect("127.0.0.1", port))
    local client = vthread.isolate(function()
        connection:write("hello\n")
        return connection:read("l")
    end)
    same("hello!", client:join())
    server:join()
end)

claim("what is left in a channel that copies is released", function()
    for _ = 1, 100 do
        local channel = vthread.channel(4, "copy")
        channel:send(vthread.channel(1, "copy"))
        channel:send {vthread.channel(0, "copy"), "x", print, string}
        channel:send(function() return string end)
    end
    collectgarbage()
    collectgarbage()
end)

claim("an isolate has threads, and isolates, of its own", function()
    same(6, vthread.join(vthread.isolate(function()
        local threads, sum = {}, 0
        for i = 1, 3 do
            threads[i] = vthread.spawn(function()
                return vthread.join(vthread.isolate(function() return i end))
            end)
        end
        for _, thread in ipairs(threads) do sum = sum + thread:join() end
        return sum
    end)))
end)

claim("threads that an isolate leaves are cancelled with it", function()
    local ends = vthread.channel(10, "copy")
    vthread.join(vthread.isolate(function()
        for _ = 1, 3 do
            vthread.spawn(function()
                local o <close> = setmetatable({}, {__close = function()
                    ends:send(true)
                end})
                vthread.sleep(1000)
            end)
        end
        vthread.spawn(function() while true do end end)
        vthread.sleep(0.001)
    end))
    same(3, #ends)
end)

claim("cancel reaches an isolate", function()
    local began = vthread.channel(1, "copy")
    local isolate = vthread.isolate(function()
        began:send(1)
        vthread.sleep(1000)
    end)
    began:receive()
    isolate:cancel()
    fails("cancelled", vthread.join, isolate)
end)

claim("100 isolates", function()
    local isolates, sum = {}, 0
    for i = 1, 100 do
        isolates[i] = vthread.isolate(function() return i end)
    end
    for _, isolate in ipairs(isolates) do sum = sum + isolate:join() end
    same(5050, sum)
end)

claims.finish()
