-- The calls that a model makes.

local json = require("sidecar.json")

local M = {}

--- Run the tool of *call* and hand over its result: what the tool returns or fails with, or why it was not run.
---@param tools table<string, sidecar.Tool>
---@param id string
---@param call sidecar.ToolCall|nil
---@param take fun(result: sidecar.ToolResult)
function M.run(tools, id, call, take)
  local function reply(result, is_error)
    local content = type(result) == "string" and result or json.encode(result)
    take({ id = id, content = content, is_error = is_error or false })
  end
  local tool = call and tools[call.name]
  if not tool then
    reply("There is no such tool.", true)
  elseif type(call.arguments) ~= "table" then
    reply("The arguments are not a JSON object.", true)
  else
    local ok, result = pcall(tool, call.arguments, reply, call)
    if not ok or result ~= nil then
      reply(ok and result or tostring(result), not ok)
    end
  end
end

return M
