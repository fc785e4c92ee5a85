-- slices_test.lua - a script that computes does not starve the others.  Each
-- claim holds because it comes to an end.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local claim, same = claims.claim, claims.same

claim("a thread that computes lets others run", function()
    local has_begun, is_over, n = false, false, 0
    local busy = vthread.spawn(function()
        has_begun = true
        while not is_over do n = n + 1 end
    end)
    while not has_begun do vthread.yield() end
    vthread.spawn(function() is_over = true end)
    busy:join()
end)

claim("two that compute take turns", function()
    local turn, turns = 1, 0
    local function take(mine)
        while turns < 6 do
            if turn == mine then
                turn = 3 - mine
                turns = turns + 1
            end
        end
    end
    local a, b = vthread.spawn(take, 1), vthread.spawn(take, 2)
    a:join()
    b:join()
end)

claim("without a call in its loop, in a coroutine, in a coroutine of that, "
    .. "in a comparator", function()
    for _, place in ipairs {
        function(f) f() end,
        function(f) coroutine.wrap(f)() end,
        function(f)
            assert(coroutine.resume(coroutine.create(function()
                coroutine.wrap(f)()
            end)))
        end,
        function(f) table.sort({1, 2, 3}, function() f() return false end) end,
        function(f)
            pcall(coroutine.wrap(function() error("dead") end))
            f()
        end,
        function(f)
            coroutine.wrap(function() vthread.sleep(0) coroutine.yield() end)()
            f()
        end,
    } do
        local is_over = false
        local busy = vthread.spawn(place, function()
            while not is_over do end
        end)
        vthread.yield()
        vthread.spawn(function() is_over = true end)
        busy:join()
    end
end)

claim("the main thread that computes lets others run", function()
    local is_over = false
    vthread.spawn(function() vthread.sleep(0.001) is_over = true end)
    while not is_over do end
end)

claim("isolates that compute let others run", function()
    local go = vthread.channel(0, "copy")
    local busy = {}
    for i = 1, 3 do
        busy[i] = vthread.isolate(function()
            local is_over = false
            vthread.spawn(function() go:receive() is_over = true end)
            while not is_over do end
            return true
        end)
    end
    vthread.sleep(0.001)
    go:close()
    for i = 1, 3 do same(true, busy[i]:join()) end
end)

claim("a thread that computes can be cancelled only when it waits", function()
    local is_over = false
    local busy = vthread.spawn(function()
        while not is_over do end
        return pcall(vthread.sleep, 1000)
    end)
    busy:cancel()
    vthread.spawn(function() is_over = true end)
    same(false, (busy:join()))
end)

claim("a hook of the script is left alone", function()
    local lines = 0
    debug.sethook(function() lines = lines + 1 end, "l")
    local sum = 0
    for i = 1, 100000 do
        sum = sum + i
    end
    local hook = debug.gethook()
    debug.sethook()
    assert(hook and lines > 100000)
end)

claims.finish()
