-- Measures how much processor time a stream takes through the client, and through a bare loop of vim.json.decode.

local uv = vim.uv or vim.loop

local function seconds()
  local used = uv.getrusage()
  return used.utime.sec + used.stime.sec + (used.utime.usec + used.stime.usec) / 1e6
end

--- Return how long the decoder takes. The lines are garbage afterwards, and no burden for the client.
local function measure_decoder()
  local lines, count = {}, 0
  for line in io.lines(os.getenv("CHUNKS")) do
    lines[#lines + 1] = line
  end
  collectgarbage()
  local began, decode = seconds(), vim.json.decode
  for index = 1, #lines do
    if decode(lines[index]).data.type == "content" then
      count = count + 1
    end
  end
  return seconds() - began
end

local function stream_all()
  local count, ended = 0, false
  local sidecar = require("sidecar").new({ command = { os.getenv("SIDECAR_COMMAND") } })
  sidecar:start()
  local function stop()
    ended = true
  end
  local on = {
    content = function()
      count = count + 1
    end,
  }
  sidecar:request("stream_chat", {}, { on = on, on_done = stop, on_error = stop })
  vim.wait(120000, function()
    return ended
  end, 20)
  sidecar:close()
  return count
end

for _ = 1, 3 do
  local bare_s = measure_decoder()
  collectgarbage()
  local began = seconds()
  local chunks = stream_all()
  io.stdout:write(vim.json.encode({ bare_s = bare_s, client_s = seconds() - began, chunks = chunks }), "\n")
end
vim.cmd("qall!")
