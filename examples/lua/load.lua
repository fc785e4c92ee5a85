-- load.lua - shows a client: 10,000 connections to an HTTP server at once.
--
--     build/examples/lua/vlua examples/lua/httpd.lua &
--     build/examples/lua/vlua examples/lua/load.lua \
--         [CONNECTIONS [REQUESTS [HOST [PORT]]]]
--
-- A thread for each connection.  All connect first, and meet; then each sends
-- so many requests, one after the other, and checks every answer.  It ends with
-- status 1 unless all of them are right.

local vthread = require "vthread"
local connections = tonumber(arg[1] or 10000)
local requests = tonumber(arg[2] or 5)
local host, port = arg[3] or "127.0.0.1", arg[4] or "8080"

local connected = vthread.channel(connections)
local start = vthread.channel()

local function connect()
    for attempt = 1, 20 do
        local connection = vthread.tcp.connect(host, port, 30)
        if connection then return connection end
        vthread.sleep(0.01 * attempt)
    end
end

local function read_answer(connection)
    local status = assert(connection:read("l")):match("^HTTP/1%.1 (%d+)")
    local length = 0
    for field in connection do
        if field == "\r" then break end
        length = tonumber(field:match("^Content%-Length: (%d+)")) or length
    end
    return status, connection:read(length)
end

local function ask(number)
    local connection <close> = connect()
    connected:send(connection and number or false)
    if not connection then return end
    start:receive() -- closed: all are there
    for request = 1, requests do
        local body = number .. "." .. request
        assert(connection:write("POST /echo HTTP/1.1\r\nHost: ", host,
            "\r\nContent-Length: ", #body, "\r\n\r\n", body))
        local status, answer = read_answer(connection)
        if status ~= "200" or answer ~= body then
            error("a wrong answer: " .. tostring(answer), 0)
        end
    end
end

local threads = {}
for number = 1, connections do
    threads[number] = vthread.spawn(ask, number)
end
for _ = 1, connections do
    if not connected:receive(60) then
        io.stderr:write("cannot connect to ", host, ":", port, "\n")
        os.exit(false)
    end
end
print(connections .. " connections at once")
local began = vthread.now()
start:close()
local failures = 0
for _, thread in ipairs(threads) do
    local is_fine, message = pcall(vthread.join, thread)
    if not is_fine then
        failures = failures + 1
        if failures == 1 then io.stderr:write(message, "\n") end
    end
end
local seconds = vthread.now() - began
print(string.format("%d requests, %d failures", connections * requests,
    failures))
io.stderr:write(string.format("%.0f requests per second\n",
    connections * requests / seconds))
os.exit(failures == 0)
