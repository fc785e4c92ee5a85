-- suite.lua - runs one file of a test suite: lua5.4 suite.lua FILE, or
-- vlua suite.lua FILE.
--
-- Under vlua the file runs in a thread, while another one takes its turns,
-- and waits in comparators and metamethods of its own.  The last line tells
-- how far the file came: "passed", or its error.  Names that files for older
-- versions of Lua use are there for both.

local is_vlua, vthread = pcall(require, "vthread")
local file = arg[1]
arg = nil

loadstring = loadstring or load
unpack = unpack or table.unpack
table.getn = function(t) return #t end
table.foreach = function(t, f)
    for k, v in pairs(t) do
        local result = f(k, v)
        if result ~= nil then return result end
    end
end
table.foreachi = function(t, f)
    for i, v in ipairs(t) do
        local result = f(i, v)
        if result ~= nil then return result end
    end
end
math.mod = math.fmod
math.pow = function(a, b) return a ^ b end
math.log10 = function(a) return math.log(a, 10) end
string.gfind = string.gmatch
gcinfo = function() return collectgarbage "count" end
setfenv = function(f, environment)
    local i, name = 0
    repeat
        i = i + 1
        name = debug.getupvalue(f, i)
    until name == nil or name == "_ENV"
    if name then
        debug.upvaluejoin(f, i, function() return environment end, 1)
    end
    return f
end
_port, _soft, _noposix, _nomsg = true, true, true, true

local function run()
    local print, pcall, dofile = print, pcall, dofile
    local is_fine, message = pcall(dofile, file)
    return is_fine and "passed" or tostring(message)
end

local outcome
if is_vlua then
    local turns, is_over = 0, false
    local other = vthread.spawn(function()
        local spawn, sleep, sort = vthread.spawn, vthread.sleep, table.sort
        while not is_over do
            sort({3, 1, 2}, function(a, b) sleep(0.0001) return a < b end)
            turns = turns + 1
        end
    end)
    outcome = vthread.join(vthread.spawn(run))
    is_over = true
    vthread.join(other)
    io.stderr:write("turns: ", turns, "\n")
else
    outcome = run()
end
io.stdout:write("\n", outcome, "\n")
