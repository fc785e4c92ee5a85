-- sockets_test.lua - vthread.tcp.

package.path = arg[0]:gsub("[^/]*$", "?.lua") .. ";" .. package.path
local claims = require "claims"
local vthread = require "vthread"
local tcp = vthread.tcp
local claim, same, fails = claims.claim, claims.same, claims.fails

-- Two ends of a connection.
local function pair()
    local listener <close> = assert(tcp.listen("127.0.0.1", 0))
    local _, port = listener:address()
    local accepting = vthread.spawn(function() return listener:accept() end)
    local a = assert(tcp.connect("127.0.0.1", port))
    return a, accepting:join()
end

claim("reads as in io: lines, numbers, all, some", function()
    local a, b = pair()
    a:write("one\ntwo\n", 3, "\n", 4.5, "abcdef\n\nrest")
    a:shutdown()
    same("one", b:read())
    same("two\n", b:read("L"))
    same("3", b:read("l"))
    same("", b:read(0))
    same("4.5ab", b:read(5))
    same("cdef", b:read("*l"))
    same("", b:read("l"))
    same("re", b:read(2))
    same("st", b:read("l"))
    same(nil, b:read("l"))
    same(nil, b:read(1))
    same(nil, b:read("s"))
    same("", b:read("a"))
end)

claim("a line in pieces, and some of it", function()
    local a, b = pair()
    local reader = vthread.spawn(function() return b:read("l") end)
    for c in ("hello"):gmatch(".") do
        a:write(c)
        vthread.yield()
    end
    a:write("\nmore")
    same("hello", reader:join())
    same("more", b:read("s"))
end)

claim("a loop over lines", function()
    local a, b = pair()
    vthread.spawn(function()
        for i = 1, 1000 do a:write(i, "\n") end
        a:close()
    end)
    local sum = 0
    for line in b do sum = sum + line end
    same(500500, sum)
end)

claim("megabytes, by all and by number", function()
    local a, b = pair()
    local text = ("0123456789abcdef"):rep(1 << 17)
    local writer = vthread.spawn(function()
        assert(a:write(text))
        assert(a:write(text))
        a:shutdown()
    end)
    same(true, b:read(#text) == text)
    same(true, b:read("a") == text)
    writer:join()
end)

claim("both directions at once", function()
    local a, b = pair()
    local text = ("x"):rep(1 << 20)
    local threads = {}
    for _, ends in ipairs {{a, b}, {b, a}} do
        threads[#threads + 1] = vthread.spawn(function()
            assert(ends[1]:write(text))
        end)
        threads[#threads + 1] = vthread.spawn(function()
            same(#text, #ends[2]:read(#text))
        end)
    end
    for _, thread in ipairs(threads) do thread:join() end
end)

claim("messages of several writers stay whole", function()
    local a, b = pair()
    local writers = {}
    for i = 0, 9 do
        writers[i + 1] = vthread.spawn(function()
            for _ = 1, 20 do a:write(tostring(i):rep(20000), "\n") end
        end)
    end
    for _ = 1, 200 do
        local line = b:read("l")
        same(20000, #line)
        same(line:sub(1, 1):rep(20000), line)
    end
    for _, writer in ipairs(writers) do writer:join() end
end)

claim("several readers get whole lines", function()
    local a, b = pair()
    local total, readers = 0, {}
    for i = 1, 5 do
        readers[i] = vthread.spawn(function()
            local sum = 0
            for line in b do sum = sum + line end
            return sum
        end)
    end
    for i = 1, 500 do a:write(i, "\n") end
    a:close()
    for _, reader in ipairs(readers) do total = total + reader:join() end
    same(125250, total)
end)

claim("time-outs of reads, and what has come is kept", function()
    local a, b = pair()
    b:timeout(0.01)
    a:write("half")
    local line, why = b:read("l")
    same(nil, line)
    same("timeout", why)
    a:write(" a line\n")
    b:timeout()
    same("half a line", b:read("l"))
end)

claim("time-outs of writes and accepts", function()
    local a, b = pair()
    a:timeout(0.01)
    local result, why
    repeat result, why = a:write(("x"):rep(1 << 20)) until not result
    same("timeout", why)
    b:close()
    local listener <close> = tcp.listen("127.0.0.1", 0)
    same("timeout", select(2, listener:accept(0.001)))
end)

-- Until the thread has given up its turn in there.
local function until_in(method, thread)
    while not thread:traceback():find("in method '" .. method .. "'", 1, true)
    do
        vthread.yield()
    end
end

claim("close wakes who reads, and who accepts", function()
    local a, b = pair()
    local reader = vthread.spawn(function() return b:read() end)
    until_in("read", reader)
    b:close()
    same("closed", select(2, reader:join()))
    local listener = tcp.listen("127.0.0.1", 0)
    local accepting = vthread.spawn(function() return listener:accept() end)
    until_in("accept", accepting)
    listener:close()
    same("closed", select(2, accepting:join()))
end)

claim("a closed one is refused", function()
    local a, b = pair()
    a:close()
    a:close()
    fails("closed connection", a.read, a)
    fails("closed connection", a.write, a, "x")
    local listener = tcp.listen("127.0.0.1", 0)
    listener:close()
    fails("closed listener", listener.accept, listener)
    fails("closed listener", listener.address, listener)
end)

claim("writing to one that has gone: nil and closed, or reset", function()
    local a, b = pair()
    b:close()
    local result, why
    for _ = 1, 100 do
        result, why = a:write(("x"):rep(10000))
        if not result then break end
        vthread.sleep(0.001)
    end
    same(nil, result)
    assert(why == "closed" or why:find("reset"), why)
end)

claim("what cannot be connected to says why", function()
    local listener = tcp.listen("127.0.0.1", 0)
    local _, port = listener:address()
    listener:close()
    local connection, why, number = tcp.connect("127.0.0.1", port)
    same(nil, connection)
    same("Connection refused", why)
    same(111, number)
    connection, why = tcp.connect("name.invalid", 80)
    same(nil, connection)
    assert(why:find("name.invalid", 1, true), why)
    connection, why = tcp.connect("127.0.0.1", "no port")
    same(nil, connection)
    local other <close> = tcp.listen("127.0.0.1", 0)
    local _, taken = other:address()
    connection, why = tcp.listen("127.0.0.1", taken)
    same("Address already in use", why)
end)

claim("bad arguments", function()
    local a, b = pair()
    fails("invalid format", a.read, a, "x")
    fails("invalid format", a.read, a, "")
    fails("number of bytes", a.read, a, -1)
    fails("string expected", a.write, a, {})
    fails("string expected", tcp.connect)
    fails("string expected", tcp.connect, "127.0.0.1")
    fails("vthread.stream expected", a.read, 1)
    fails("no time", a.timeout, a, -1)
    same(a, a:write())
end)

claim("sockets are closed with the last that knows of them", function()
    local a, b = pair()
    a = nil
    collectgarbage()
    collectgarbage()
    same(nil, b:read())
    do
        local c <close>, d = pair()
        b = d
    end
    same(nil, b:read())
end)

claim("200 connections echo in lines", function()
    local listener <close> = tcp.listen("127.0.0.1", 0)
    local _, port = listener:address()
    local server = vthread.spawn(function()
        for _ = 1, 200 do
            local connection = assert(listener:accept())
            vthread.spawn(function()
                for line in connection do connection:write(line, "\n") end
                connection:close()
            end)
        end
    end)
    local clients = {}
    for i = 1, 200 do
        clients[i] = vthread.spawn(function()
            local connection <close> = assert(tcp.connect("127.0.0.1", port))
            for k = 1, 5 do
                connection:write(i, ".", k, "\n")
                same(i .. "." .. k, connection:read())
            end
        end)
    end
    for _, client in ipairs(clients) do client:join() end
    server:join()
end)

claims.finish()
