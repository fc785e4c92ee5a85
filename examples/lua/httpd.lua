-- httpd.lua - shows a server: HTTP/1.1 with a thread for each connection.
--
--     build/examples/lua/vlua examples/lua/httpd.lua [HOST [PORT [ISOLATES]]]
--
-- Answers /hello, /slow (after 0.1 s), /count (requests so far), and POST
-- /echo with what was posted.  Connections are kept.  With ISOLATES the same
-- listener is served by that many Lua states, in parallel; then /count is that
-- of one of them.  /quit ends the server.

local vthread = require "vthread"
local host, port = arg[1] or "127.0.0.1", arg[2] or "8080"
local isolates = tonumber(arg[3] or 1)

local function serve(listener, quit)
    local served = 0
    local pages = {}

    pages["/hello"] = function() return "hello, world\n" end
    pages["/slow"] = function() vthread.sleep(0.1) return "at last\n" end
    pages["/count"] = function() return served .. "\n" end
    pages["/echo"] = function(request) return request.body end
    pages["/quit"] = function() return "bye\n" end -- and see below

    -- Nil at the end of the connection.
    local function read_request(connection)
        local line = connection:read("l")
        local method, path, version =
            (line or ""):match("^(%u+) (%S+) HTTP/1%.(%d)\r?$")
        if not method then return nil, line and "400 Bad Request" end
        local fields = {}
        for field in connection do
            if field == "\r" or field == "" then break end
            local name, value = field:match("^([^:%s]+):%s*(.-)%s*$")
            if not name then return nil, "400 Bad Request" end
            fields[name:lower()] = value
        end
        local length = tonumber(fields["content-length"] or 0)
        if not length or length < 0 or length > 1e6 then
            return nil, "413 Content Too Large"
        end
        local body = length > 0 and connection:read(length // 1 | 0) or ""
        local keeps = version == "1" and fields.connection ~= "close"
        return {method = method, path = path, body = body, keeps = keeps}
    end

    local function answer(connection, status, body, keeps)
        return connection:write("HTTP/1.1 ", status, "\r\nContent-Length: ",
            #body, "\r\nContent-Type: text/plain\r\n",
            keeps and "" or "Connection: close\r\n", "\r\n", body)
    end

    local function converse(connection)
        local connection <close> = connection
        connection:timeout(60)
        while true do
            local request, problem = read_request(connection)
            if not request then
                if problem then
                    answer(connection, problem, problem .. "\n", false)
                end
                return
            end
            served = served + 1
            local page = pages[request.path]
            local body = page and page(request) or "no such page\n"
            local status = page and "200 OK" or "404 Not Found"
            local sent = answer(connection, status, body, request.keeps)
            if request.path == "/quit" then quit:send(true) end
            if not sent or not request.keeps then return end
        end
    end

    while true do
        local connection, problem = listener:accept()
        if connection then
            vthread.spawn(converse, connection)
        elseif problem == "closed" then
            return served
        else -- out of descriptors: some will be closed
            vthread.sleep(0.05)
        end
    end
end

local listener <close> = assert(vthread.tcp.listen(host, port))
local quit = vthread.channel(1, "copy")
local servers = {}
for i = 1, isolates do
    local start = isolates > 1 and vthread.isolate or vthread.spawn
    servers[i] = start(serve, listener, quit)
end
print(string.format("listening on http://%s:%d/", listener:address()))
io.stdout:flush()
quit:receive()
listener:close()
local served = 0
for _, server in ipairs(servers) do served = served + vthread.join(server) end
print(served .. " requests")
os.exit(true)
