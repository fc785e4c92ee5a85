-- waits_test.lua - a thread may wait wherever a Lua function may be called.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local same = claims.same

-- What a place does to wait; each lets other threads run in the same state.
local ones = vthread.channel()
local source = vthread.spawn(function() while ones:send(1) do end end)
local ways = {
    {"receives", function() return ones:receive() end},
    {"sleeps", function() vthread.sleep(0.0001) return 1 end},
    {"yields", function() vthread.yield() return 1 end},
    {"joins", function()
        return vthread.join(vthread.spawn(function() return 1 end))
    end},
    {"selects", function()
        return select(2, vthread.select {ones})
    end},
    {"calls", function()
        return (vthread.call(nil, "abs", "i(i)", -1))
    end},
}

local meta = setmetatable
local places = {}

places["a comparator of sort"] = function(wait)
    local t = {}
    for i = 1, 20 do t[i] = i * 7 % 20 end
    table.sort(t, function(a, b) wait() return a < b end)
    for i = 1, 20 do same(i - 1, t[i]) end
end
places["a callback of gsub"] = function(wait)
    same("<a><b>", (("ab"):gsub(".", function(c)
        wait()
        return "<" .. c .. ">"
    end)))
end
places["a table of gsub"] = function(wait)
    local t = meta({}, {__index = function(_, k) wait() return k:upper() end})
    same("AB", (("ab"):gsub(".", t)))
end
places["__index and __newindex"] = function(wait)
    local log = {}
    local t = meta({}, {__index = function(_, k) wait() return k end,
        __newindex = function(_, k, v) wait() log[k] = v end})
    t.x = t.y
    same("y", log.x)
end
places["arithmetic"] = function(wait)
    local mt = {}
    for _, name in ipairs {"add", "sub", "mul", "div", "mod", "pow", "idiv",
        "band", "bor", "bxor", "shl", "shr"} do
        mt["__" .. name] = function() return wait() end
    end
    mt.__unm = function() return wait() end
    mt.__bnot = mt.__unm
    local o = meta({}, mt)
    same(14, (o + 1) + (o - 1) + (o * 1) + (o / 1) + (o % 1) + (o ^ 1)
        + (o // 1) + (o & 1) + (o | 1) + (o ~ 1) + (o << 1) + (o >> 1)
        + (-o) + (~o))
end
places["comparisons"] = function(wait)
    local mt = {__eq = function() return wait() == 1 end,
        __lt = function() return wait() == 1 end,
        __le = function() return wait() == 1 end}
    local a, b = meta({}, mt), meta({}, mt)
    assert(a == b and a < b and a <= b)
end
places["__call, __len and __concat"] = function(wait)
    local o = meta({}, {__call = function(_, x) return x + wait() end,
        __len = function() return wait() end,
        __concat = function(a, b)
            wait()
            return type(a) == "string" and a .. "o" or "o" .. b
        end})
    same(3, o(2))
    same(1, #o)
    same("xo", "x" .. o)
    same("oy", o .. "y")
end
places["__tostring, __name and format"] = function(wait)
    local o = meta({}, {__tostring = function() wait() return "object" end})
    same("object", tostring(o))
    same("[object object]", string.format("[%s %s]", o, o))
end
places["__pairs and iterators"] = function(wait)
    local o = meta({}, {__pairs = function()
        wait()
        return function(_, k) wait() if not k then return 1, 2 end end
    end})
    local sum = 0
    for k, v in pairs(o) do sum = sum + k + v end
    same(3, sum)
end
places["ipairs, unpack, insert and concat by metamethods"] = function(wait)
    local t = {}
    local o = meta({}, {__len = function() wait() return #t end,
        __index = function(_, k) wait() return t[k] end,
        __newindex = function(_, k, v) wait() t[k] = v end})
    table.insert(o, "a")
    table.insert(o, 1, "b")
    same("ba", table.concat(o))
    same("b", (table.unpack(o)))
    local n = 0
    for _ in ipairs(o) do n = n + 1 end
    same(2, n)
    same("b", table.remove(o, 1))
end
places["__close"] = function(wait)
    local log = ""
    do
        local function add(name)
            return meta({}, {__close = function() wait() log = log .. name end})
        end
        local a <close> = add "a"
        local b <close> = add "b"
    end
    same("ba", log)
end
places["__close after an error"] = function(wait)
    local log = ""
    local ok, message = pcall(function()
        local a <close> = meta({}, {__close = function(_, e)
            wait()
            log = e
        end})
        error("x", 0)
    end)
    same("x", log)
    same("x", message)
end
places["a finalizer"] = function(wait)
    local done = 0
    for _ = 1, 3 do
        meta({}, {__gc = function() wait() done = done + 1 end})
    end
    collectgarbage()
    while done < 3 do vthread.yield() collectgarbage() end
end
places["pcall, and an error after it"] = function(wait)
    local ok, message = pcall(function() wait() error({code = wait()}) end)
    same(1, message.code)
end
places["a handler of xpcall"] = function(wait)
    local ok, message = xpcall(function() local x = nil + 1 end,
        function(m) wait() return #m > 0 end)
    same(true, message)
end
places["a reader of load"] = function(wait)
    local pieces, n = {"return ", "function() ", "return 7 ", "end"}, 0
    same(7, load(function() wait() n = n + 1 return pieces[n] end)()())
end
places["require and dofile"] = function(wait)
    package.loaded.waits_module = nil
    package.preload.waits_module = function() wait() return {wait()} end
    same(1, require("waits_module")[1])
    local name = os.tmpname()
    local file <close> = io.open(name, "w")
    file:write("return waits_wait() + 1")
    file:flush()
    waits_wait = wait
    same(2, dofile(name))
    os.remove(name)
end
places["a coroutine"] = function(wait)
    local co = coroutine.wrap(function(a)
        for _ = 1, 3 do a = a + wait() + coroutine.yield(a) end
        return "end"
    end)
    same(0, co(0))
    same(11, co(10))
    same(22, co(10))
    same("end", co(10))
end
places["a coroutine in a comparator in gsub in pcall"] = function(wait)
    local co = coroutine.create(function()
        coroutine.yield(1)
        local _, s = pcall(string.gsub, "x", ".", function()
            local t = {3, 1, 2}
            table.sort(t, function(a, b)
                return coroutine.wrap(function() wait() return a < b end)()
            end)
            return table.concat(t)
        end)
        return s
    end)
    coroutine.resume(co)
    same("123", select(2, coroutine.resume(co)))
    same("dead", coroutine.status(co))
end
places["closing a coroutine"] = function(wait)
    local closed = false
    local co = coroutine.create(function()
        local o <close> = meta({}, {__close = function()
            wait()
            closed = true
        end})
        coroutine.yield()
    end)
    coroutine.resume(co)
    assert(coroutine.close(co))
    assert(closed)
end
places["a hook"] = function(wait)
    local lines = 0
    debug.sethook(function() lines = lines + wait() end, "l")
    local x = 1
    x = x + 1
    debug.sethook()
    assert(lines >= 2)
end
places["an argument of select"] = function(wait)
    same(2, select("#", wait(), wait()))
end
places["150 calls of pcall in each other"] = function(wait)
    local function descend(n)
        wait()
        if n == 0 then error("bottom", 0) end
        local ok, m = pcall(descend, n - 1)
        wait()
        error(m .. "+", 0)
    end
    local _, m = pcall(descend, 50)
    same(50 + #"bottom", #m)
end
places["a recursion of 200 Lua calls"] = function(wait)
    local function descend(n)
        if n == 0 then return wait() end
        return descend(n - 1) + 0
    end
    same(1, descend(200))
end

local names = {}
for name in pairs(places) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
    claims.claim(name .. " may wait", function()
        for _, way in ipairs(ways) do
            local ok, message = pcall(vthread.join,
                vthread.spawn(places[name], way[2]))
            if not ok then error(way[1] .. ": " .. message, 0) end
        end
    end)
end

claims.claim("all of these, in 20 threads at once", function()
    local threads = {}
    for round = 1, 20 do
        for _, name in ipairs(names) do
            -- One hook, and what is global, at a time.
            if name ~= "a hook" and name ~= "require and dofile" then
                threads[#threads + 1] = vthread.spawn(places[name],
                    ways[round % 3 + 1][2])
            end
        end
    end
    for _, thread in ipairs(threads) do vthread.join(thread) end
end)

claims.claim("a script's main thread may wait in them, too", function()
    for _, name in ipairs(names) do places[name](ways[1][2]) end
end)

claims.claim("collections while others wait in the middle of these", function()
    local is_over = false
    local collector = vthread.spawn(function()
        while not is_over do
            collectgarbage(math.random(2) == 1 and "step" or "collect")
            vthread.yield()
        end
    end)
    local threads = {}
    for _, name in ipairs(names) do
        if name ~= "a hook" and name ~= "require and dofile" then
            threads[#threads + 1] = vthread.spawn(places[name], ways[2][2])
        end
    end
    for _, thread in ipairs(threads) do vthread.join(thread) end
    is_over = true
    vthread.join(collector)
end)

ones:close()
vthread.join(source)
claims.finish()
