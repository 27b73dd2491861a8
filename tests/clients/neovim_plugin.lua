-- Types into a second Neovim that has the plugin of `examples/neovim`, and prints what it then shows, as JSON.

local child = vim.fn.jobstart({
  "nvim", "--embed", "--headless", "-u", "NONE", "-i", "NONE", "-n",
  "--cmd", "set runtimepath^=protocol/clients/lua,examples/neovim",
}, { rpc = true })

local function run(code, ...) return vim.rpcrequest(child, "nvim_exec_lua", code, { ... }) end
local function type_keys(keys) vim.rpcrequest(child, "nvim_input", keys) end
local function read_lines() return vim.rpcrequest(child, "nvim_buf_get_lines", 0, 0, -1, false) end
local function wait_for(what, holds)
  if not vim.wait(20000, holds, 10) then error(what .. " has not come: " .. vim.inspect(read_lines())) end
end
local function wait_for_text(text, times)
  wait_for(text, function() return #vim.split(table.concat(read_lines(), "\n"), text, { plain = true }) > times end)
end

local function read_ghost()
  return run([[
    local namespace = vim.api.nvim_get_namespaces().assistant
    local marks = vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true })
    return marks[1] and { marks[1][2], marks[1][3], marks[1][4].virt_text[1][1] } or vim.NIL]])
end
local function wait_for_ghost() wait_for("the ghost text", function() return read_ghost() ~= vim.NIL end) end

local function try()
  local seen = {}
  run('require("assistant").setup({ pause_ms = 1 })')
  type_keys("idef area(r):<CR>    return ")
  wait_for_ghost()
  seen.ghost = read_ghost()
  type_keys("x")
  wait_for("the end of the ghost text", function() return not vim.deep_equal(read_ghost(), seen.ghost) end)
  type_keys("<BS>")
  wait_for("the ghost text again", function() return vim.deep_equal(read_ghost(), seen.ghost) end)
  type_keys("<Tab>")
  wait_for("the completion", function() return #read_lines()[2] > 12 end)
  seen.completed = read_lines()
  type_keys("<Esc>:Chat<CR>iHello<Esc><CR>")
  wait_for_text("## You", 2)
  seen.chat = read_lines()
  run('require("assistant").setup({ chat_model = "replay/slow" })')
  type_keys("GiAgain<Esc><CR>")
  wait_for("the first word", function() return #read_lines()[#read_lines()] > 0 and #read_lines() > 14 end)
  type_keys("<C-c>")
  wait_for_text("[cancelled]", 1)
  wait_for_text("## You", 3)
  seen.cancelled = read_lines()
  return seen
end

local ok, seen = pcall(try)
io.stdout:write(ok and vim.json.encode(seen) or tostring(seen), "\n")
pcall(vim.rpcrequest, child, "nvim_command", "qall!")
vim.cmd(ok and "qall!" or "cquit")
