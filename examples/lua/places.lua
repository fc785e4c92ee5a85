-- places.lua - shows where a thread may wait: anywhere.
--
--     build/examples/lua/vlua examples/lua/places.lua
--     lua5.4 examples/lua/places.lua
--
-- With plain Lua a function that waits can only yield, and most of these
-- places say "attempt to yield across a C-call boundary".  Here each waits for
-- a value that another thread sends.

local is_vlua, vthread = pcall(require, "vthread")
local wait
if is_vlua then
    local values = vthread.channel()
    vthread.spawn(function()
        while true do values:send(1) end
    end)
    wait = function() return values:receive() end
else
    wait = function() return coroutine.yield() or 1 end
end

local places = {}

function places.sort()
    local t = {5, 2, 4, 1, 3}
    table.sort(t, function(a, b) wait() return a < b end)
    return table.concat(t, " ")
end

function places.gsub()
    return (("a-b-c"):gsub("%a", function(c) wait() return c:upper() end))
end

function places.tostring()
    return tostring(setmetatable({}, {__tostring = function()
        wait()
        return "an object"
    end}))
end

function places.concat()
    local object = setmetatable({}, {__concat = function(a)
        wait()
        return a .. "object"
    end})
    return "an " .. object
end

function places.index()
    local object = setmetatable({}, {__index = function(_, name)
        wait()
        return name
    end})
    return object.field
end

function places.length()
    return #setmetatable({}, {__len = function() return wait() + 1 end})
end

function places.iterator()
    local sum = 0
    for value in function(_, last)
        wait()
        if (last or 0) < 3 then return (last or 0) + 1 end
    end do
        sum = sum + value
    end
    return sum
end

function places.pcall()
    local _, message = pcall(function() wait() error("caught", 0) end)
    return message
end

function places.xpcall_handler()
    local _, message = xpcall(error, function(m) wait() return m .. "!" end,
        "handled")
    return message
end

function places.load()
    local pieces, n = {"return ", "1 + ", "1"}, 0
    return load(function() wait() n = n + 1 return pieces[n] end)()
end

function places.require()
    package.loaded.places_module = nil
    package.preload.places_module = function() wait() return "a module" end
    return (require "places_module")
end

function places.coroutine()
    local co = coroutine.wrap(function()
        wait()
        coroutine.yield("first")
        wait()
        return "second"
    end)
    return co() .. ", " .. co()
end

function places.close()
    local closed
    do
        local object <close> = setmetatable({}, {__close = function()
            wait()
            closed = "closed"
        end})
    end
    return closed
end

function places.finalizer()
    local collected
    setmetatable({}, {__gc = function() wait() collected = "collected" end})
    collectgarbage()
    return collected
end

-- In a coroutine, as a scheduler of plain Lua would run it.
local function try(place)
    if is_vlua then return pcall(place) end
    local co = coroutine.create(place)
    local ok, result
    repeat
        ok, result = coroutine.resume(co)
    until not ok or coroutine.status(co) == "dead"
    return ok, result
end

local names = {}
for name in pairs(places) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
    local _, result = try(places[name])
    print(string.format("%-16s%s", name, result))
end
os.exit(true)
