#!/bin/sh
# A host in the shell: asks one question and shows the answer as it comes. Needs POSIX sh, sed, awk and tr. Run it with
#
#   examples/ask.sh What is a sidecar?
#   git diff | MODEL=anthropic/claude-sonnet-5-5 examples/ask.sh Write a commit message.
#
# It ends with 0 after a whole answer, and with 1 and a message on stderr after an error. SIDECAR may name the program.
# It relies on the order of keys that this program writes. Where any order must do, read the lines with `jq`.

set -eu
model=${MODEL:-replay/text}

# The text on stdin as the inside of a JSON string. Control characters but tab and the ends of lines are left out.
quote() {
  tr -d '\000-\010\013-\037' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$(printf '\t')/\\\\t/g" |
    awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
}

# Print the text of the inside of a JSON string. Escaped control characters could take over a terminal: left out.
# `%b` reads the other escapes, \n and \\ and so on, as JSON means them.
show() {
  case $1 in
    *\\*) text=$(printf '%s\n' "$1" | sed -e 's/\\\\/\\0134/g' -e 's/\\u00[01][0-9a-f]//g' -e 's/\\[bf]//g' \
      -e 's/\\"/"/g' -e 's/\\r//g') && printf '%b' "$text" ;;
    *) printf '%s' "$1" ;;
  esac
}

read_replies() {
  while IFS= read -r line; do
    case $line in
      *'"data":{"type":"content","content":"'*)
        text=${line#*'"type":"content","content":"'}
        show "${text%\"\}\}}" ;;
      *'"data":{"type":"done",'*)
        printf '\n'
        return 0 ;;
      '{"id":1,'*'"success":false,'*)
        text=${line#*'"message":"'}
        printf '\n%s\n' "ask.sh: $(show "${text%%\",\"retryable\"*}")" >&2
        return 1 ;;
    esac
  done
  echo "ask.sh: the sidecar has ended without an answer" >&2
  return 1
}

question=$(printf '%s' "$*" | quote)
[ -t 0 ] || question="$question\\n\\n$(quote)"

# The end of its input ends the sidecar, but not before what was asked is answered.
"${SIDECAR:-sidecar}" <<EOF | read_replies
{"id":0,"action":"initialize","params":{"protocol_version":1,"client":{"name":"ask.sh"}}}
{"id":1,"action":"stream_chat","params":{"model":"$(printf '%s' "$model" | quote)","messages":[{"role":"user","content":"$question"}]}}
EOF
