-- foreign_test.lua - functions of shared libraries.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local claim, same, fails = claims.claim, claims.same, claims.fails

claim("numbers of all kinds", function()
    same(1024.0, (vthread.call("libm.so.6", "pow", "d(dd)", 2, 10)))
    same(1.5, (vthread.call("libm.so.6", "fabsf", "f(f)", -1.5)))
    same(7, (vthread.call(nil, "abs", "i(i)", -7)))
    same(-7, (vthread.call(nil, "atoi", "i(s)", "-7")))
    same(1 << 40, (vthread.call(nil, "labs", "l(l)", -(1 << 40))))
    same(true, (vthread.call(nil, "srand", "v(I)", 1)))
end)

claim("strings, pointers, NULL and buffers", function()
    same(5, (vthread.call(nil, "strlen", "z(s)", "hello")))
    same("cd", (vthread.call(nil, "strchr", "s(si)", "abcd", ("c"):byte())))
    same(nil, (vthread.call(nil, "strchr", "s(si)", "abcd", 0x7a)))
    local buffer = vthread.buffer(16)
    same(16, #buffer)
    same(("\0"):rep(16), buffer:string())
    local pointer = vthread.call(nil, "strcpy", "p(ps)", buffer, "text")
    same("userdata", type(pointer))
    same("text", buffer:string(4))
    same(4, (vthread.call(nil, "strlen", "z(p)", pointer)))
    same(0, (vthread.call(nil, "time", "l(p)", nil) > 0 and 0))
end)

claim("errno is the second result", function()
    local result, errno = vthread.call(nil, "rmdir", "i(s)", "/nowhere/x")
    same(-1, result)
    same(2, errno)
    same(0, select(2, vthread.call(nil, "abs", "i(i)", 1)))
end)

claim("while a call lasts other threads run, by every policy", function()
    for _, policy in ipairs {"auto", "blocking"} do
        local ends = vthread.buffer(8)
        vthread.call(nil, "pipe", "i(p)", ends)
        local reader, writer = ("i4i4"):unpack(ends:string())
        local read = vthread.foreign(nil, "read", "t(ipz)", policy)
        local memory = vthread.buffer(8)
        local thread = vthread.spawn(function()
            return read(reader, memory, 1)
        end)
        for _ = 1, 10 do vthread.yield() end
        vthread.call(nil, "write", "t(isz)", writer, "x", 1)
        same(1, (thread:join()))
        same("x", memory:string(1))
        vthread.call(nil, "close", "i(i)", reader)
        vthread.call(nil, "close", "i(i)", writer)
    end
end)

claim("critical calls, and calls from many threads", function()
    local abs = vthread.foreign(nil, "abs", "i(i)", "critical")
    local threads = {}
    for i = 1, 50 do
        threads[i] = vthread.spawn(function()
            local sum = 0
            for k = 1, 100 do sum = sum + abs(-k) + vthread.call(nil, "abs",
                "i(i)", k) end
            return sum
        end)
    end
    for _, thread in ipairs(threads) do same(10100, thread:join()) end
end)

claim("bad arguments", function()
    local abs = vthread.foreign(nil, "abs", "i(i)")
    fails("1 arguments expected, got 0", abs)
    fails("1 arguments expected, got 2", abs, 1, 2)
    fails("number expected", abs, "x")
    fails("number expected", abs, {})
    fails("string, buffer, pointer or nil expected", vthread.call, nil,
        "strlen", "z(s)", 5 > 4)
    fails("bad signature", vthread.foreign, nil, "abs", "?(i)")
    fails("bad signature", vthread.foreign, nil, "abs", "i(i")
    fails("no function 'nothing_of_that_name'", vthread.foreign, nil,
        "nothing_of_that_name", "v()")
    fails("cannot open shared object", vthread.foreign, "libnone.so.9", "x",
        "v()")
    fails("invalid option", vthread.foreign, nil, "abs", "i(i)", "soon")
    fails("invalid option", vthread.foreign, nil, "abs", "i(i)", "detached")
    fails("no size", vthread.buffer, 0)
    fails("not so many bytes", function() vthread.buffer(4):string(5) end)
    fails("value expected", vthread.call, nil, "abs")
end)

claims.finish()
