-- threads_test.lua - spawn, join, cancel, and errors.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local claim, same, fails = claims.claim, claims.same, claims.fails

-- An error that the joiner sees, and not standard error.
local function fail_later(f, ...)
    local go = vthread.channel()
    local thread = vthread.spawn(function(...)
        go:receive()
        return f(...)
    end, ...)
    vthread.spawn(function() go:close() end)
    return thread
end

claim("join returns what the function returned", function()
    local results = {vthread.join(vthread.spawn(function(...)
        return select("#", ...), ...
    end, 1, nil, "x", nil))}
    same(4, results[1])
    same(1, results[2])
    same(nil, results[3])
    same("x", results[4])
end)

claim("as many arguments and results as Lua has room for", function()
    local many = {}
    for i = 1, 100000 do many[i] = i end
    local function count(...) return select("#", ...), ... end
    for _, n in ipairs {19, 30, 60, 100, 300, 1000, 5000, #many} do
        local results =
            table.pack(vthread.spawn(count, table.unpack(many, 1, n)):join())
        same(n, results[1])
        same(n + 1, results.n)
        same(n, results[n + 1])
    end
end)

claim("join again returns the same", function()
    local t = {}
    local thread = vthread.spawn(function() return t end)
    same(t, vthread.join(thread))
    same(t, thread:join())
end)

claim("threads share upvalues and tables", function()
    local seen, t = nil, {}
    local threads = {}
    for i = 1, 100 do
        threads[i] = vthread.spawn(function()
            vthread.yield()
            t[i] = true
            if i == 100 then seen = t end
        end)
    end
    for _, thread in ipairs(threads) do thread:join() end
    same(100, #t)
    same(t, seen)
end)

claim("an error carries both stacks", function()
    local function innermost() error("deep") end
    local function spawner()
        local thread = fail_later(function() innermost() return 1 end)
        return thread
    end
    local thread = spawner()
    local ok, message = pcall(vthread.join, thread)
    assert(message:find("threads_test.lua:%d+: deep"), message)
    assert(message:find("innermost"), message)
    assert(message:find("spawned by:.*spawner"), message)
    same(message, thread:traceback())
end)

claim("an error that is a table stays that table", function()
    local value = {}
    local thread = fail_later(function() error(value) end)
    local ok, message = pcall(vthread.join, thread)
    same(value, message)
    assert(thread:traceback():find("spawned by", 1, true))
end)

claim("an error in a thread of a thread comes through both joins", function()
    local thread = fail_later(function()
        return vthread.join(fail_later(function() error("inner") end))
    end)
    fails("inner", vthread.join, thread)
end)

claim("join with a time-out: nil and timeout, and it can be joined later",
    function()
        local go = vthread.channel()
        local thread = vthread.spawn(function() return go:receive() end)
        local result, why = vthread.join(thread, 0.001)
        same(nil, result)
        same("timeout", why)
        go:send(7)
        same(7, vthread.join(thread))
    end)

claim("several join one thread", function()
    local go = vthread.channel()
    local thread = vthread.spawn(function() return go:receive() end)
    local joiners = {}
    for i = 1, 10 do joiners[i] = vthread.spawn(vthread.join, thread) end
    go:send(7)
    for i = 1, 10 do same(7, joiners[i]:join()) end
end)

claim("a thread cannot join itself", function()
    local handle = vthread.channel(1)
    local thread = vthread.spawn(function()
        return pcall(vthread.join, handle:receive())
    end)
    handle:send(thread)
    local ok, message = thread:join()
    same(false, ok)
    assert(message:find("cannot join itself"))
end)

claim("cancel ends a wait with an error", function()
    for _, wait in ipairs {
        function() vthread.sleep(1000) end,
        function() vthread.channel():receive() end,
        function() vthread.channel():send(1) end,
        function() vthread.select {vthread.channel()} end,
        function() vthread.tcp.listen("127.0.0.1", 0):accept() end,
    } do
        local began = vthread.channel(1)
        local thread = vthread.spawn(function()
            began:send(1)
            return pcall(wait)
        end)
        began:receive()
        vthread.cancel(thread)
        local ok, message = thread:join()
        same(false, ok)
        same("cancelled", message)
    end
end)

claim("cancel ends a join, and what is joined goes on", function()
    local go = vthread.channel()
    local inner = vthread.spawn(function() return go:receive() end)
    local outer = vthread.spawn(pcall, vthread.join, inner)
    outer:cancel()
    same(false, (outer:join()))
    go:send(5)
    same(5, inner:join())
end)

claim("cancel closes what is to be closed, and its error is cancelled",
    function()
        local closed
        local thread = vthread.spawn(function()
            local o <close> = setmetatable({}, {__close = function(_, e)
                closed = e
            end})
            vthread.sleep(1000)
        end)
        vthread.yield()
        thread:cancel()
        fails("cancelled", vthread.join, thread)
        same("cancelled", closed)
    end)

claim("cancel before the wait ends the next one; of an ended thread it is "
    .. "no harm", function()
    local thread = vthread.spawn(pcall, vthread.sleep, 1000)
    thread:cancel()
    same(false, (thread:join()))
    thread:cancel()
end)

claim("a channel of capacity one is a lock", function()
    local lock, count, threads = vthread.channel(1), 0, {}
    for i = 1, 10 do
        threads[i] = vthread.spawn(function()
            for _ = 1, 100 do
                lock:send(true)
                local before = count
                vthread.yield()
                count = before + 1
                lock:receive()
            end
        end)
    end
    for _, thread in ipairs(threads) do thread:join() end
    same(1000, count)
end)

claim("a coroutine runs in one thread at a time", function()
    local go = vthread.channel()
    local co = coroutine.create(function() return go:receive() end)
    local thread = vthread.spawn(function() return coroutine.resume(co) end)
    while coroutine.status(co) == "suspended" do vthread.yield() end
    same("normal", coroutine.status(co))
    local ok, message = coroutine.resume(co)
    same(false, ok)
    assert(message:find("non-suspended", 1, true), message)
    go:send(3)
    same(3, select(2, thread:join()))
end)

claim("a coroutine may be resumed by one thread after another", function()
    local co = coroutine.wrap(function()
        for i = 1, 10 do
            vthread.yield()
            coroutine.yield(i)
        end
    end)
    for i = 1, 10 do same(i, vthread.join(vthread.spawn(co))) end
end)

claim("errors of coroutine.wrap and resume are those of plain Lua", function()
    fails("cannot resume dead coroutine", function()
        local co = coroutine.wrap(function() end)
        co()
        co()
    end)
    local ok, message = coroutine.resume(coroutine.create(function()
        error("x", 0)
    end))
    same("x", message)
    fails("claims_of_this: 5", coroutine.wrap(function()
        error("claims_of_this: 5", 0)
    end))
    fails("coroutine expected", coroutine.resume, 1)
    fails("function expected", coroutine.wrap, 1)
    same(0, select("#", coroutine.wrap(function() end)()))
end)

claim("C calls in each other end with an error, not with the stack", function()
    local stack = tonumber(os.getenv "VTHREAD_LUA_STACK" or 1024)
    if stack < 512 then return end
    local function descend(s)
        local r = s:gsub(".", descend)
        return r
    end
    local thread = fail_later(descend, "x")
    fails("C stack overflow", vthread.join, thread)
    local function tower() return tostring(setmetatable({},
        {__tostring = tower})) end
    local function recurse() return recurse() + 1 end
    fails("stack overflow", vthread.join, fail_later(recurse))
end)

-- Sanitizers and Valgrind make a thread dear.
local many = tonumber(os.getenv "LUA_TEST_THREADS" or 10000)
claim(many .. " threads", function()
    local threads, ended = {}, 0
    local go = vthread.channel()
    for i = 1, many do
        threads[i] = vthread.spawn(function()
            go:receive()
            return 1
        end)
    end
    collectgarbage()
    go:close()
    for _, thread in ipairs(threads) do ended = ended + thread:join() end
    same(many, ended)
end)

claim("a thread whose handle is gone goes on", function()
    local done = vthread.channel()
    for _ = 1, 10 do vthread.spawn(function()
        collectgarbage()
        vthread.yield()
        done:send(1)
    end) end
    collectgarbage()
    for _ = 1, 10 do same(1, done:receive()) end
end)

claim("bad arguments", function()
    fails("function expected", vthread.spawn, 1)
    fails("function expected", vthread.spawn)
    fails("function expected", vthread.isolate, "f")
    fails("vthread.thread expected", vthread.join, 1)
    fails("number expected", vthread.sleep, "soon")
    fails("number expected", vthread.sleep)
    fails("number expected", vthread.join, vthread.spawn(print), {})
    vthread.sleep(-1)
    vthread.sleep(0 / 0)
end)

claim("a handle tells how its thread is doing", function()
    local go = vthread.channel()
    local thread = vthread.spawn(function() go:receive() error("x") end)
    assert(tostring(thread):find("thread 'threads_test.lua:%d+' %(lives%)"))
    while not thread:traceback():find("in function <") do vthread.yield() end
    vthread.spawn(function() go:close() end)
    pcall(vthread.join, thread)
    assert(tostring(thread):find("has failed", 1, true))
end)

claims.finish()
