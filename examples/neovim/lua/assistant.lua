-- A plugin for Neovim over the client: a chat in a buffer, and completions as ghost text. Try it with
--
--   nvim --cmd 'set runtimepath^=protocol/clients/lua,examples/neovim' -c 'lua require("assistant").setup()'
--
-- `:Chat` opens a buffer: write below the heading, then <CR> in normal mode sends, and <C-c> cancels. While you type in
-- any other buffer, <Tab> takes the ghost text. Put a real provider in place of `replay` and nothing else changes.

local options = { chat_model = "replay/text", completion_model = "replay/completion", pause_ms = 150 }
local LINES_BEFORE, LINES_AFTER = 200, 50
local namespace = vim.api.nvim_create_namespace("assistant")
local sidecar
local chats = {} -- By buffer: `messages`, `call` while an answer comes, `first` line of what the user writes.

local function notify(error)
  if error.code ~= "cancelled" then vim.notify(error.message, vim.log.levels.ERROR) end
end

local function append(buffer, text)
  if not vim.api.nvim_buf_is_valid(buffer) then return end
  local last = vim.api.nvim_buf_line_count(buffer) - 1
  local column = #vim.api.nvim_buf_get_lines(buffer, last, last + 1, false)[1]
  vim.api.nvim_buf_set_text(buffer, last, column, last, column, vim.split(text, "\n", { plain = true }))
end

local function give_turn(buffer)
  if not chats[buffer] then return end -- The buffer is gone.
  append(buffer, "\n\n## You\n\n")
  chats[buffer].call = nil
  chats[buffer].first = vim.api.nvim_buf_line_count(buffer) - 1
end

--- Send what stands below the last heading of the chat, and write the answer below it.
local function send(buffer)
  local chat = chats[buffer]
  if not chat or chat.call then return end
  local text = vim.trim(table.concat(vim.api.nvim_buf_get_lines(buffer, chat.first, -1, false), "\n"))
  if text == "" then return end
  table.insert(chat.messages, { role = "user", content = text })
  append(buffer, "\n\n## Assistant\n\n")
  chat.call = sidecar:request("stream_chat", { model = options.chat_model, messages = chat.messages }, {
    on = { content = function(chunk) append(buffer, chunk.content) end },
    on_done = function(done) table.insert(chat.messages, done.message) give_turn(buffer) end,
    on_error = function(error)
      table.remove(chat.messages) -- A question without an answer is not sent again.
      append(buffer, ("\n[%s]"):format(error.code))
      give_turn(buffer)
      notify(error)
    end,
  })
end

local function cancel(buffer)
  if chats[buffer] and chats[buffer].call then chats[buffer].call.cancel() end
end

--- Open a new chat in a window of its own.
local function open()
  vim.cmd("new")
  local buffer = vim.api.nvim_get_current_buf()
  vim.bo[buffer].buftype, vim.bo[buffer].bufhidden, vim.bo[buffer].filetype = "nofile", "wipe", "markdown"
  chats[buffer] = { messages = {} }
  append(buffer, "# Chat")
  give_turn(buffer)
  vim.cmd("normal! G")
  vim.keymap.set("n", "<CR>", function() send(buffer) end, { buffer = buffer })
  vim.keymap.set({ "n", "i" }, "<C-c>", function() cancel(buffer) end, { buffer = buffer })
  local function forget() cancel(buffer) chats[buffer] = nil end
  vim.api.nvim_create_autocmd("BufWipeout", { buffer = buffer, callback = forget })
end

local ghost, pause -- What is shown: its `place` and `lines`. And the timer of a pause in typing.

local function is_inserting() return vim.fn.mode():find("^i") ~= nil end

local function hide()
  if ghost and vim.api.nvim_buf_is_valid(ghost.place.buffer) then
    vim.api.nvim_buf_clear_namespace(ghost.place.buffer, namespace, 0, -1)
  end
  ghost = nil
end

local function read_place()
  local buffer, cursor = vim.api.nvim_get_current_buf(), vim.api.nvim_win_get_cursor(0)
  return { buffer = buffer, row = cursor[1] - 1, column = cursor[2], tick = vim.api.nvim_buf_get_changedtick(buffer) }
end

local function show(place, text)
  if text == "" or not vim.deep_equal(place, read_place()) or not is_inserting() then return end
  hide()
  local lines = vim.split(text, "\n", { plain = true })
  local at_end = place.column == #vim.api.nvim_get_current_line()
  local below = vim.tbl_map(function(line) return { { line, "Comment" } } end, vim.list_slice(lines, 2))
  vim.api.nvim_buf_set_extmark(place.buffer, namespace, place.row, place.column, {
    virt_text = { { lines[1], "Comment" } }, virt_text_pos = at_end and "overlay" or "eol", virt_lines = below,
  })
  ghost = { place = place, lines = lines }
end

--- Ask for the text at the cursor. The slot ends the request before it, or goes on with its answer.
local function complete()
  local place = read_place()
  local before = vim.api.nvim_buf_get_lines(place.buffer, math.max(0, place.row - LINES_BEFORE), place.row + 1, false)
  local after = vim.api.nvim_buf_get_lines(place.buffer, place.row, place.row + LINES_AFTER, false)
  before[#before], after[1] = before[#before]:sub(1, place.column), after[1]:sub(place.column + 1)
  sidecar:request("complete", {
    model = options.completion_model,
    prefix = table.concat(before, "\n"),
    suffix = table.concat(after, "\n"),
    language = vim.bo.filetype,
    slot = "window " .. vim.api.nvim_get_current_win(),
  }, { on_done = function(done) show(place, done.items[1].text) end, on_error = notify })
end

local function insert_ghost()
  if not ghost then return end
  local place, lines = ghost.place, ghost.lines
  hide()
  vim.api.nvim_buf_set_text(place.buffer, place.row, place.column, place.row, place.column, lines)
  local column = #lines == 1 and place.column or 0
  vim.api.nvim_win_set_cursor(0, { place.row + #lines, column + #lines[#lines] })
end

local function wait_for_pause()
  hide()
  pause:stop()
  if vim.bo.buftype ~= "" then return end
  pause:start(options.pause_ms, 0, vim.schedule_wrap(function() return is_inserting() and complete() end))
end

local function setup(given)
  options = vim.tbl_extend("force", options, given or {})
  if sidecar then return end
  pause = vim.loop.new_timer()
  sidecar = require("sidecar").new({ initialize = { client = { name = "assistant.lua" } }, on_refused = notify })
  sidecar:start()
  vim.api.nvim_create_user_command("Chat", open, {})
  vim.keymap.set("i", "<Tab>", function()
    if ghost then vim.schedule(insert_ghost) end -- A mapping with `expr` may not change the text itself.
    return ghost and "" or "<Tab>"
  end, { expr = true })
  vim.api.nvim_create_autocmd("TextChangedI", { callback = wait_for_pause })
  vim.api.nvim_create_autocmd("CursorMovedI", { callback = function()
    if ghost and not vim.deep_equal(ghost.place, read_place()) then hide() end
  end })
  vim.api.nvim_create_autocmd("InsertLeave", { callback = hide })
  vim.api.nvim_create_autocmd("VimLeavePre", { callback = function() sidecar:close() end })
end

return { setup = setup }
