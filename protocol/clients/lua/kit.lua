-- The driver of the conformance kit (protocol/KIT.md): carries out operations, and reports what happens. Run by
-- kit.sh, which hands over stdin as descriptor 3: Neovim would read it as text.

local json = require("sidecar.json")
local uv = vim.uv or vim.loop
local out = uv.new_pipe(false)
out:open(1)
local calls = {}

local function report(event, fields)
  out:write(json.encode(vim.tbl_extend("force", { event = event }, fields)) .. "\n")
end

local sidecar = require("sidecar").new({
  command = { os.getenv("SIDECAR_COMMAND") },
  backoff_ms = tonumber(os.getenv("SIDECAR_BACKOFF_MS") or "1000"),
  initialize = { client = { name = "kit" }, events = { "status", "warnings" } },
  on_ready = function(initialized)
    report("ready", { protocol_version = initialized.protocol_version })
  end,
  on_event = function(data)
    report("unsolicited", { data = data })
  end,
  on_exit = function(exit)
    report("exit", { code = exit.code or vim.NIL, restarting = exit.restarting, stderr = exit.stderr })
  end,
  on_refused = function(error)
    report("refused", { reason = error.reason or error.code })
  end,
  on_problem = function(problem)
    io.stderr:write(problem, "\n")
  end,
})

local function close()
  sidecar:close(function()
    out:shutdown(function()
      vim.schedule(function()
        vim.cmd("qall!")
      end)
    end)
  end)
end

local function request(op)
  local key, call = json.encode(op.id), nil
  local function finish(event, fields)
    if calls[key] == call then
      calls[key] = nil
    end
    report(event, fields)
  end
  call = sidecar:request(op.action, op.params or {}, {
    provider = op.provider,
    deadline_ms = op.deadline_ms,
    on_chunk = function(data)
      report("chunk", { id = op.id, data = data })
    end,
    on_done = function(data)
      finish("done", { id = op.id, data = data })
    end,
    on_error = function(error)
      finish("error", { id = op.id, error = error })
    end,
  })
  calls[key] = call
end

local closed = false
local function perform(op)
  if op.op == "start" then
    sidecar:start()
  elseif op.op == "request" then
    request(op)
  elseif op.op == "cancel" and calls[json.encode(op.id)] then
    calls[json.encode(op.id)].cancel()
  elseif op.op == "close" and not closed then
    closed = true
    close()
  end
end

local pieces = {}
local stdin = uv.new_pipe(false)
stdin:open(3)
stdin:read_start(vim.schedule_wrap(function(_, bytes)
  pieces[#pieces + 1] = bytes or '\n{"op":"close"}\n'
  if not pieces[#pieces]:find("\n", 1, true) then
    return
  end
  local text = table.concat(pieces)
  local last = text:match("^.*()\n")
  pieces = { text:sub(last + 1) }
  json.decode_lines(text:sub(1, last - 1), perform, print)
end))
