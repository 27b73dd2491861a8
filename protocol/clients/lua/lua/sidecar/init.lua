-- The client: starts a sidecar, sends requests, and hands each reply to the request that it belongs to.
-- It needs Neovim 0.7 and nothing else. README.md shows its use.

local json = require("sidecar.json")
local processes = require("sidecar.process")
local run_tool = require("sidecar.tools").run

local PROTOCOL_VERSION = 1
local STEADY_MS = 60000 -- A process that works for so long is no failure in a row.
local CANCELLED = { code = "cancelled", message = "The request was cancelled." }
local CLOSED = { code = "shutting_down", message = "The client was closed." }

local uv = vim.uv or vim.loop

---@class sidecar.ClientOptions
---@field command? string[] The program and its arguments. Default: the variable SIDECAR, or else `sidecar`.
---@field initialize? sidecar.Initialize Sent to each new process.
---@field backoff_ms? number How long to wait before the first restart; twice as long before each one in a row.
---@field max_backoff_ms? number
---@field grace_ms? number How long to wait for each step of an orderly end, and for the end of a cancelled request.
---@field start_ms? number How long a process may take to answer `initialize`.
---@field on_ready? fun(initialized: sidecar.Initialized)
---@field on_event? fun(warning: sidecar.Warn) Gets a warning that belongs to no request.
---@field on_exit? fun(exit: {code: integer|nil, restarting: boolean, stderr: string})
---@field on_refused? fun(error: table) The sidecar cannot be used, and is not restarted: show the message.
---@field on_problem? fun(problem: string) A stray line, or a handler that has failed: somebody's mistake.

---@class sidecar.RequestOptions
---@field provider? string
---@field deadline_ms? number The most time until the reply; then the request fails with `timeout` and is cancelled.
---@field on? table<string, fun(chunk: table)> A handler for each type of chunk.
---@field on_chunk? fun(chunk: table) Gets every chunk but the last one, also those of types that are not known.
---@field on_done? fun(data: table) Gets the data of the terminal line.
---@field on_error? fun(error: table) Gets why the request has failed.
---@field tools? table<string, sidecar.Tool> With `tool_loop`: the tools by their names.

--- Returns its result, or nil and calls `reply` later.
---@alias sidecar.Tool fun(arguments: table, reply: fun(result: any, is_error?: boolean), call: sidecar.ToolCall): any

---@class sidecar.Sidecar
local Sidecar = {}
Sidecar.__index = Sidecar

local DEFAULTS = { backoff_ms = 1000, max_backoff_ms = 30000, grace_ms = 2000, start_ms = 30000 }

local function stop(timer)
  if timer and not timer:is_closing() then
    timer:stop()
    timer:close()
  end
end

--- Start the sidecar, also again after it was refused. Requests that come before it is ready wait.
function Sidecar:start()
  if not self.process and not self.closing then
    stop(self.restart_timer)
    self.refused = nil
    self:_spawn()
  end
end

--- Send a request. It fails at once if the sidecar cannot be used.
---@param action sidecar.Action
---@param params table
---@param options? sidecar.RequestOptions
---@return {id: integer, cancel: fun()} call `cancel` ends the request, which fails with `cancelled` unless it has just
--- ended; no chunk comes after it.
function Sidecar:request(action, params, options)
  options = options or {}
  if next(params) == nil then
    params = vim.empty_dict()
  end
  local id, entry = self:_add({ action = action, provider = options.provider, params = params })
  entry.on_done, entry.on_error = options.on_done, options.on_error
  entry.on_chunk = self:_make_reader(id, options)
  if options.deadline_ms then
    entry.deadline = vim.defer_fn(function()
      self:_expire(id, options.deadline_ms)
    end, options.deadline_ms)
  end
  if self.refused or self.closing then
    -- Like every end, it comes after this function has returned.
    vim.schedule(function()
      self:_fail(id, self.refused or CLOSED)
    end)
  elseif self.ready_at then
    self:_send(entry)
  end
  local function cancel()
    self:_cancel(id)
  end
  return { id = id, cancel = cancel }
end

--- End the process, which is started again. For one that no longer answers, not even a `ping`.
function Sidecar:kill()
  if self.process then
    self.process.kill("sigkill")
  end
end

--- End the sidecar: by the end of its input, and by signals if that does not help. Open requests may finish.
---@param on_closed? fun()
function Sidecar:close(on_closed)
  self.closing = true
  stop(self.restart_timer)
  for id, entry in pairs(vim.tbl_extend("force", {}, self.entries)) do
    if not entry.sent then
      self:_fail(id, CLOSED)
    end
  end
  local process = self.process
  if not process then
    self:_call(on_closed)
    return
  end
  self.on_closed[#self.on_closed + 1] = on_closed
  process.close_stdin()
  for step, signal in ipairs({ "sigterm", "sigkill" }) do
    vim.defer_fn(function()
      process.kill(signal)
    end, self.options.grace_ms * step)
  end
end

-- --- the process --------------------------------------------------------------------------------

function Sidecar:_spawn()
  local command = self.options.command or { os.getenv("SIDECAR") or "sidecar" }
  local function read(line)
    self:_read_line(line)
  end
  local function report(problem)
    self:_report(problem)
  end
  local process, problem = processes.start(command, function(text)
    json.decode_lines(text, read, report)
  end, function(code, stderr)
    self:_end(code, stderr)
  end)
  self.process = process
  if not process then
    vim.schedule(function()
      self:_end(nil, problem, true)
    end)
    return
  end
  self.start_limit = vim.defer_fn(function()
    process.kill("sigkill")
  end, self.options.start_ms)
  local params = vim.tbl_extend("force", { protocol_version = PROTOCOL_VERSION }, self.options.initialize or {})
  local _, entry = self:_add({ action = "initialize", params = params })
  entry.on_done = function(initialized)
    self:_take_initialized(initialized)
  end
  entry.on_error = function(error)
    if error.code ~= "sidecar_exited" then
      self:_refuse(error)
    end
  end
  self:_send(entry)
end

function Sidecar:_take_initialized(initialized)
  local version = initialized.protocol_version
  if version ~= PROTOCOL_VERSION then
    local message = ("The sidecar speaks version %s of the protocol, not %d."):format(version, PROTOCOL_VERSION)
    self:_refuse({ code = "protocol_version", message = message })
    return
  end
  stop(self.start_limit)
  self.ready_at = uv.now()
  self:_call(self.options.on_ready, initialized)
  local ids = vim.tbl_keys(self.entries)
  table.sort(ids)
  for _, id in ipairs(ids) do
    local entry = self.entries[id]
    if entry and not entry.sent then
      self:_send(entry)
    end
  end
end

function Sidecar:_refuse(error)
  self.refused = error
  self:_call(self.options.on_refused, error)
  self:_fail_all(function()
    return error
  end)
  local process = self.process
  process.close_stdin()
  vim.defer_fn(function()
    process.kill("sigkill")
  end, self.options.grace_ms)
end

function Sidecar:_end(code, stderr, unspawned)
  stop(self.start_limit)
  if self.ready_at and uv.now() - self.ready_at > STEADY_MS then
    self.restarts = 0
  end
  self.process, self.ready_at = nil, nil
  local restarting = not unspawned and code ~= 2 and not self.closing and not self.refused
  if not restarting and not self.closing and not self.refused then
    self.refused = { code = unspawned and "spawn_failed" or "sidecar_exited", message = vim.trim(stderr) }
  end
  local message = ("The sidecar has ended (%s)."):format(code or "by a signal")
  self:_fail_all(function(entry)
    if entry.sent then
      return { code = "sidecar_exited", message = message, retryable = true, partial = entry.chunks > 0 }
    end
    return self.refused or (self.closing and CLOSED) or nil
  end)
  if restarting then
    local delay_ms = math.min(self.options.backoff_ms * 2 ^ self.restarts, self.options.max_backoff_ms)
    self.restarts = self.restarts + 1
    self.restart_timer = vim.defer_fn(function()
      self:_spawn()
    end, delay_ms)
  end
  self:_call(self.options.on_exit, { code = code, restarting = restarting, stderr = stderr })
  for _, on_closed in ipairs(self.closing and self.on_closed or {}) do
    self:_call(on_closed)
  end
end

-- --- lines --------------------------------------------------------------------------------------

function Sidecar:_send(entry)
  entry.sent = true
  self.process.write(entry.line)
  entry.line = nil
end

function Sidecar:_read_line(line)
  local id = type(line) == "table" and line.id
  local entry = type(id) == "number" and self.entries[id]
  if not entry then
    self:_read_stray(line)
  elseif line.streaming == true and line.data.type ~= "done" then
    entry.chunks = entry.chunks + 1
    if not entry.cancelled then
      entry.on_chunk(line.data)
    end
  elseif line.success == true and entry.cancelled ~= "found" then
    self:_settle(id)
    self:_call(entry.on_done, line.data)
  else
    self:_fail(id, line.error or CANCELLED)
  end
end

function Sidecar:_read_stray(line)
  local id = type(line) == "table" and line.id
  if id ~= false and line.event then
    self:_call(self.options.on_event, line.data)
  -- A request that has expired may still have lines on their way.
  elseif not (type(id) == "number" and id > 0 and id <= self.last_id) then
    self:_report("A line of the sidecar's belongs to no request.")
  end
end

-- --- requests -----------------------------------------------------------------------------------

function Sidecar:_add(request)
  self.last_id = self.last_id + 1
  request.id = self.last_id
  local entry = { line = json.encode(request) .. "\n", sent = false, chunks = 0, on_chunk = function() end }
  self.entries[self.last_id] = entry
  return self.last_id, entry
end

function Sidecar:_settle(id)
  local entry = self.entries[id]
  if entry then
    self.entries[id] = nil
    stop(entry.deadline)
    stop(entry.grace)
  end
  return entry
end

function Sidecar:_fail(id, error)
  local entry = self:_settle(id)
  if entry then
    self:_call(entry.on_error, error)
  end
end

--- Fail every open request for which *why* returns an error.
function Sidecar:_fail_all(why)
  local ids = vim.tbl_keys(self.entries)
  table.sort(ids)
  for _, id in ipairs(ids) do
    local error = self.entries[id] and why(self.entries[id])
    if error then
      self:_fail(id, error)
    end
  end
end

function Sidecar:_cancel(id)
  local entry = self.entries[id]
  if not entry or entry.cancelled then
    return
  end
  if not entry.sent then
    self:_fail(id, CANCELLED)
    return
  end
  entry.cancelled = "sent"
  entry.grace = vim.defer_fn(function()
    self:_fail(id, CANCELLED)
  end, self.options.grace_ms)
  self:request("cancel", { id = id }, {
    on_done = function(data)
      if data.found then
        entry.cancelled = "found"
      else
        self:_fail(id, CANCELLED)
      end
    end,
  })
end

function Sidecar:_expire(id, deadline_ms)
  local entry = self.entries[id]
  if entry and entry.sent and self.process then
    self:request("cancel", { id = id })
  end
  self:_fail(id, { code = "timeout", message = ("No answer in %d ms."):format(deadline_ms), phase = "total" })
end

--- Return what takes the chunks of a request: handlers by type, all chunks, and calls of tools.
function Sidecar:_make_reader(id, options)
  local on, on_chunk, tools, calls = options.on or {}, options.on_chunk, options.tools, {}
  local function read_tool_chunk(chunk)
    if chunk.type == "tool_call" then
      calls[chunk.tool_call.id] = chunk.tool_call
    elseif chunk.type == "tool_round" then
      for _, call_id in ipairs(chunk.calls) do
        run_tool(tools, call_id, calls[call_id], function(result)
          self:request("tool_result", { id = id, results = { result } })
        end)
      end
    end
  end
  return function(chunk)
    local handler = on[chunk.type]
    if handler then
      self:_try(handler, chunk)
    end
    if on_chunk then
      self:_try(on_chunk, chunk)
    end
    if tools then
      read_tool_chunk(chunk)
    end
  end
end

function Sidecar:_call(handler, argument)
  if handler then
    self:_try(handler, argument)
  end
end

--- Call *handler*. Whatever it raises, the lines after it are read.
function Sidecar:_try(handler, argument)
  local ok, problem = pcall(handler, argument)
  if not ok then
    self:_report("A handler has failed: " .. tostring(problem))
  end
end

function Sidecar:_report(problem)
  if self.options.on_problem then
    self.options.on_problem(problem)
  else
    vim.notify("sidecar: " .. problem, vim.log.levels.WARN)
  end
end

local M = {}

--- Return a client. `start` starts its process, which is started again when it ends by itself.
---@param options? sidecar.ClientOptions
---@return sidecar.Sidecar
function M.new(options)
  return setmetatable({
    options = vim.tbl_extend("keep", options or {}, DEFAULTS),
    entries = {},
    last_id = 0,
    restarts = 0,
    closing = false,
    on_closed = {},
  }, Sidecar)
end

return M
