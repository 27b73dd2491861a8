-- One process of the sidecar: its three pipes, its lines, and its end.

local uv = vim.uv or vim.loop

local STDERR_BYTES = 8192
local DRAIN_MS = 1000 -- How long what has inherited the pipes of a process may hold them open after its end.
local MUTE_MS = 200 -- How long a process may live on when its stdout has ended, if its stdin is open.

local M = {}

--- Return what takes bytes in any pieces and gives all whole lines of each as one text. It cuts at the byte LF alone.
local function make_splitter(take)
  local pieces = {}
  return function(bytes)
    local last = bytes:match("^.*()\n")
    if not last then
      pieces[#pieces + 1] = bytes
      return
    end
    pieces[#pieces + 1] = bytes:sub(1, last - 1)
    local text = table.concat(pieces)
    pieces = { last < #bytes and bytes:sub(last + 1) or nil }
    take(text)
  end
end

--- Start a program.
---@param command string[]
---@param on_lines fun(text: string) Gets whole lines of stdout, some at a time, with LF between them.
---@param on_end fun(code: integer|nil, stderr: string) Called once: the process has ended and its output is read.
---@return table|nil process, string|nil error
function M.start(command, on_lines, on_end)
  local stdin, stdout, stderr = uv.new_pipe(false), uv.new_pipe(false), uv.new_pipe(false)
  local open, code, kept, closed, handle = 3, nil, "", false, nil

  local function finish()
    open = 0
    for _, each in ipairs({ stdin, stdout, stderr, handle }) do
      if not each:is_closing() then
        each:close()
      end
    end
    vim.schedule(function()
      on_end(code, kept)
    end)
  end

  local function count_down()
    open = open - 1
    if open == 0 then
      finish()
    end
  end

  local args = { unpack(command, 2) }
  local options = { args = args, stdio = { stdin, stdout, stderr }, hide = true }
  local problem
  handle, problem = uv.spawn(command[1], options, function(exit_code, signal)
    code = signal == 0 and exit_code or nil
    count_down()
    vim.defer_fn(function()
      if open > 0 then
        finish()
      end
    end, DRAIN_MS)
  end)
  if not handle then
    for _, pipe in ipairs({ stdin, stdout, stderr }) do
      pipe:close()
    end
    return nil, command[1] .. ": " .. tostring(problem)
  end

  local split = make_splitter(function(text)
    -- Handlers may call all of Neovim's functions, which may not be done here.
    vim.schedule(function()
      on_lines(text)
    end)
  end)
  stdout:read_start(function(_, bytes)
    if bytes then
      split(bytes)
      return
    end
    count_down()
    vim.defer_fn(function()
      if not stdin:is_closing() and not closed then
        handle:kill("sigkill")
      end
    end, MUTE_MS)
  end)
  stderr:read_start(function(_, bytes)
    if bytes then
      kept = (kept .. bytes):sub(-STDERR_BYTES)
    else
      count_down()
    end
  end)

  local process = {}

  function process.write(line)
    if not stdin:is_closing() then
      stdin:write(line)
    end
  end

  --- Say that there are no more requests.
  function process.close_stdin()
    if not stdin:is_closing() and not closed then
      closed = true
      stdin:shutdown(function()
        if not stdin:is_closing() then
          stdin:close()
        end
      end)
    end
  end

  function process.kill(signal)
    if not handle:is_closing() then
      handle:kill(signal)
    end
  end

  return process
end

return M
