#!/bin/sh
# Starts the driver of the conformance kit in Emacs, with its stdin as descriptor 3. An Emacs with a frame ignores
# SIGPIPE; a batch one does so only if told.
here=$(cd "$(dirname "$0")" && pwd)
trap '' PIPE
exec "${EMACS:-emacs}" --batch -Q -L "$here" -l "$here/kit.el" 3<&0 </dev/null
