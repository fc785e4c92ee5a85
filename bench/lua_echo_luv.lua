-- lua_echo_luv.lua - an echo server by luv, Lua on libuv, for bench/lua:
-- callbacks.  Prints its port.

local uv = require "luv"
local server = uv.new_tcp()

assert(server:bind("127.0.0.1", 0))
assert(server:listen(4096, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    server:accept(client)
    client:nodelay(true)
    client:read_start(function(problem, text)
        if text then
            client:write(text)
        else
            client:close()
        end
    end)
end))
print(server:getsockname().port)
io.stdout:flush()
uv.run()
