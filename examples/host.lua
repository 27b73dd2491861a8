-- A host over the client for Neovim: it streams, runs a tool, cancels, and outlives its sidecar. Run it with
-- nvim --headless -u NONE --cmd 'set runtimepath^=protocol/clients/lua' -c 'luafile examples/host.lua'

local write = function(...) io.stdout:write(...) end

local function ask(model)
  local message = { role = "user", content = "Hello" }
  return { model = model, messages = { message }, options = { tool_loop = vim.empty_dict() } }
end

local sidecar = require("sidecar").new({
  on_exit = function(exit) write("[ended, restarting: ", tostring(exit.restarting), "]\n") end,
})

local function leave_when_pinged()
  sidecar:request("ping", {}, { deadline_ms = 10000, on_done = function(pong)
    write(vim.json.encode(pong), "\n")
    sidecar:close(vim.schedule_wrap(function() vim.cmd("qall!") end))
  end })
end

local function stop_slow_answer(stop, continue)
  local call
  call = sidecar:request("stream_chat", ask("replay/slow"), {
    on = { content = function() stop(call) end },
    on_error = function(error) write("[", error.code, "]\n") continue() end,
  })
end

sidecar:start()
sidecar:request("stream_chat", ask("replay/tool_call"), {
  on = { content = function(chunk) write(chunk.content) end },
  tools = { weather = function(arguments) return "4 degrees in " .. arguments.city end },
  on_done = function(done)
    write("\n[", done.finish_reason, ", rounds: ", #done.rounds, "]\n")
    stop_slow_answer(function(call) call.cancel() end, function()
      stop_slow_answer(function() sidecar:kill() end, leave_when_pinged)
    end)
  end,
})
