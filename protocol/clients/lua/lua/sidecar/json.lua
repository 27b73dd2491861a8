-- JSON: exact integers when it is written, many lines at once when it is read.

local M = {}

local MOST_DIGITS = 1e14 -- Neovim's encoder writes a longer integer with an exponent, and loses its last digits.
local MARK = "\1integer "

--- Return *value* with a marked text in place of each long integer, and whether there is one.
local function mark(value)
  if type(value) == "number" and math.abs(value) >= MOST_DIGITS and value == math.floor(value) then
    return MARK .. ("%.0f"):format(value), true
  elseif type(value) ~= "table" then
    return value, false
  end
  local copy, found = setmetatable({}, getmetatable(value)), false
  for key, each in pairs(value) do
    local marked, has = mark(each)
    copy[key], found = marked, found or has
  end
  return found and copy or value, found
end

--- Return *value* as JSON on one line.
---@return string
function M.encode(value)
  local marked, found = mark(value)
  local text = vim.json.encode(marked)
  return found and (text:gsub('"\\u0001integer (%-?%d+)"', "%1")) or text
end

--- Return *text* as an array of JSON, with commas in place of LF, and how many these are.
local function join_lines(text)
  local list, breaks = text:gsub("\n", ",")
  return "[" .. list .. "]", breaks
end

local has_ffi, ffi = pcall(require, "ffi")
if has_ffi then
  -- LuaJIT compiles this loop; `gsub` takes as long as the decoder.
  function join_lines(text)
    local length, breaks = #text, 0
    local bytes = ffi.new("uint8_t[?]", length + 2)
    ffi.copy(bytes + 1, text, length)
    for index = 1, length do
      if bytes[index] == 10 then
        bytes[index] = 44
        breaks = breaks + 1
      end
    end
    bytes[0], bytes[length + 1] = 91, 93
    return ffi.string(bytes, length + 2), breaks
  end
end

--- Read the lines of *text*, which has LF between them. Decoded as one array they take two thirds of the time.
---@param text string
---@param take fun(line: any)
---@param report fun(problem: string)
function M.decode_lines(text, take, report)
  local array, breaks = join_lines(text)
  local ok, lines = pcall(vim.json.decode, array)
  if ok and #lines == breaks + 1 then
    for index = 1, #lines do
      take(lines[index])
    end
    return
  end
  for each in text:gmatch("[^\n]+") do
    local is_json, line = pcall(vim.json.decode, each)
    if is_json then
      take(line)
    elseif each:find("%S") then
      report("The sidecar has written a line that is no JSON.")
    end
  end
end

return M
