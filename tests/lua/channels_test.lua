-- channels_test.lua - channels and select.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local claim, same, fails = claims.claim, claims.same, claims.fails

for _, kind in ipairs {"local", "copy"} do
    for _, capacity in ipairs {0, 1, 100} do
        claim("values in order: " .. kind .. ", " .. capacity, function()
            local channel = vthread.channel(capacity, kind)
            local sender = vthread.spawn(function()
                for i = 1, 300 do assert(channel:send(i)) end
                channel:close()
            end)
            local i = 0
            for value in channel do
                i = i + 1
                same(i, value)
            end
            same(300, i)
            sender:join()
        end)
    end
    claim("what is sent is received: " .. kind, function()
        local channel = vthread.channel(1, kind)
        for _, value in ipairs {1, 1.5, "x", "", ("y"):rep(100000), true,
            false, -1, math.maxinteger, "\0"} do
            channel:send(value)
            local got = channel:receive()
            same(value, got)
            same(math.type(value), math.type(got))
        end
    end)
    claim("after close: what is left, then nil and closed: " .. kind,
        function()
            local channel = vthread.channel(2, kind)
            channel:send("a")
            channel:send("b")
            same(2, #channel)
            channel:close()
            channel:close()
            same("closed", select(2, channel:send("c")))
            same("a", channel:receive())
            same("b", channel:receive())
            same(nil, (channel:receive()))
            same("closed", select(2, channel:receive()))
        end)
    claim("time-outs: " .. kind, function()
        local channel = vthread.channel(1, kind)
        same("timeout", select(2, channel:receive(0)))
        same("timeout", select(2, channel:receive(0.001)))
        same(true, channel:send(1, 0))
        same("timeout", select(2, channel:send(2, 0)))
        same("timeout", select(2, channel:send(2, 0.001)))
        same(1, channel:receive())
    end)
    claim("close wakes those who wait: " .. kind, function()
        local channel = vthread.channel(0, kind)
        local receiver = vthread.spawn(function() return channel:receive() end)
        vthread.yield()
        channel:close()
        same("closed", select(2, receiver:join()))
        local other = vthread.channel(0, kind)
        local sender = vthread.spawn(function() return other:send({}) end)
        vthread.yield()
        other:close()
        same("closed", select(2, sender:join()))
    end)
    claim("many senders and receivers lose nothing: " .. kind, function()
        local channel = vthread.channel(3, kind)
        local senders, receivers, total = {}, {}, 0
        for i = 1, 10 do
            senders[i] = vthread.spawn(function()
                for k = 1, 50 do channel:send(k) end
            end)
            receivers[i] = vthread.spawn(function()
                local sum = 0
                for value in channel do sum = sum + value end
                return sum
            end)
        end
        for _, thread in ipairs(senders) do thread:join() end
        channel:close()
        for _, thread in ipairs(receivers) do total = total + thread:join() end
        same(10 * 50 * 51 // 2, total)
    end)
end

claim("a local channel passes the object itself", function()
    local channel = vthread.channel(1)
    local object, f = setmetatable({}, {}), function() end
    channel:send(object)
    same(object, channel:receive())
    channel:send(f)
    same(f, channel:receive())
    local co = coroutine.create(f)
    channel:send(co)
    same(co, channel:receive())
end)

claim("one that copies passes a copy", function()
    local channel = vthread.channel(1, "copy")
    local object = {1, {2}}
    channel:send(object)
    local copy = channel:receive()
    assert(copy ~= object and copy[2][1] == 2)
end)

claim("values that are left in a channel are collected with it", function()
    local weak = setmetatable({}, {__mode = "k"})
    for _ = 1, 100 do
        local channel = vthread.channel(10)
        local object = {}
        weak[object] = true
        channel:send(object)
    end
    collectgarbage()
    collectgarbage()
    same(nil, next(weak))
end)

claim("nil cannot be sent", function()
    fails("cannot be sent", function() vthread.channel(1):send(nil) end)
    fails("cannot be sent", function() vthread.channel(1):send() end)
    fails("sends nil", vthread.select, {{vthread.channel(1)}})
end)

claim("select takes what is ready", function()
    local a, b, c = vthread.channel(1), vthread.channel(1, "copy"),
        vthread.channel(1)
    b:send("b")
    local i, value = vthread.select {a, b}
    same(2, i)
    same("b", value)
    i, value = vthread.select {a, {c, "c"}}
    same(2, i)
    same(true, value)
    same("c", c:receive())
    i, value = vthread.select({a, {b, {1}}})
    same(2, i)
    same(1, b:receive()[1])
end)

claim("select waits, to receive and to send", function()
    local a, b = vthread.channel(), vthread.channel(0, "copy")
    local got = {}
    local receiver = vthread.spawn(function() return a:receive() end)
    local sender = vthread.spawn(function() b:send({"from b"}) end)
    local seen = {}
    for _ = 1, 2 do
        local i, value = vthread.select {{a, "to a"}, b}
        seen[i] = value
        if i == 1 then a = vthread.channel() end
    end
    same(true, seen[1])
    same("from b", seen[2][1])
    same("to a", receiver:join())
    sender:join()
end)

claim("select: a closed channel, a time-out, none", function()
    local closed = vthread.channel()
    closed:close()
    local i, value, why = vthread.select {vthread.channel(), closed}
    same(2, i)
    same(nil, value)
    same("closed", why)
    i, value, why = vthread.select {{closed, 1}}
    same(1, i)
    same("closed", why)
    i, why = vthread.select({vthread.channel()}, 0.001)
    same(nil, i)
    same("timeout", why)
    same("timeout", select(2, vthread.select({}, 0)))
end)

claim("select gives back what it has not sent", function()
    local weak = setmetatable({}, {__mode = "v"})
    for k = 1, 10 do
        weak[k] = {}
        vthread.select({{vthread.channel(), weak[k]}}, 0)
    end
    collectgarbage()
    same(nil, next(weak))
end)

claim("bad arguments", function()
    fails("capacity", vthread.channel, -1)
    fails("invalid option", vthread.channel, 1, "kopy")
    fails("table expected", vthread.select)
    fails("case 2 of select", vthread.select, {vthread.channel(), 5})
    fails("case 1 of select", vthread.select, {{}})
    fails("thread cannot go", function()
        vthread.channel(1, "copy"):send(coroutine.create(print))
    end)
    fails("thread cannot go", function()
        vthread.select {{vthread.channel(1), 1},
            {vthread.channel(1, "copy"), coroutine.create(print)}}
    end)
    fails("vthread.channel expected", vthread.channel().send, 1)
end)

claims.finish()
