-- claims.lua - what the tests in Lua share.  Each prints a line for each claim,
-- and ends with status 1 if one fails.

local claims = {count = 0, failures = 0}

function claims.claim(text, f, ...)
    local is_fine, message = pcall(f, ...)
    claims.count = claims.count + 1
    if is_fine then
        print("ok " .. claims.count .. " - " .. text)
    else
        claims.failures = claims.failures + 1
        print("not ok " .. claims.count .. " - " .. text)
        print("# " .. tostring(message):gsub("\n", "\n# "))
    end
end

function claims.same(wanted, got)
    if wanted ~= got then
        error("wanted: " .. tostring(wanted) .. ", got: " .. tostring(got), 2)
    end
end

-- f(...) raises an error that contains the text.
function claims.fails(text, f, ...)
    local is_fine, message = pcall(f, ...)
    if is_fine then error("no error, wanted: " .. text, 2) end
    if not tostring(message):find(text, 1, true) then
        error("wanted: " .. text .. ", got: " .. tostring(message), 2)
    end
end

function claims.finish()
    print("1.." .. claims.count)
    os.exit(claims.failures == 0, true)
end

return claims
