-- lua_echo.lua - an echo server by vthread, for bench/lua: a thread for each
-- connection.  Prints its port.

local vthread = require "vthread"
local listener = assert(vthread.tcp.listen("127.0.0.1", 0))

local function echo(connection)
    while true do
        local text = connection:read("s")
        if not text or not connection:write(text) then break end
    end
    connection:close()
end

print((select(2, listener:address())))
io.stdout:flush()
while true do
    vthread.spawn(echo, assert(listener:accept()))
end
