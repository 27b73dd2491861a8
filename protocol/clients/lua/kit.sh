#!/bin/sh
# Starts the driver of the conformance kit in Neovim, with its stdin as descriptor 3.
here=$(cd "$(dirname "$0")" && pwd)
exec "${NVIM:-nvim}" --headless -u NONE -i NONE --cmd "set runtimepath^=$here" -c "luafile $here/kit.lua" 3<&0 </dev/null
