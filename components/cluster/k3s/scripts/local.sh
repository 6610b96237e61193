# What a host is given, and what it notes of itself.

state=/etc/llm-platform

# One script at a time: one whose connection broke goes on until it notices.
alone() {
  exec 9</run
  flock -w 600 9 || fail "another run still works on it; ps shows what, wait until it has ended, then run up again"
}

# write_file PATH MODE: standard input becomes the file when its content or mode differ.
write_file() {
  if ! { mkdir -p "${1%/*}" && cat >"$1.new" && chmod "$2" "$1.new"; } 2>/dev/null; then
    rm -f "$1.new"
    fail "$1 cannot be written; make room on that disk (df -h ${1%/*}) or make it writable, then run up again"
  fi
  if [ -f "$1" ] && cmp -s "$1" "$1.new" && [ "$(stat -c %a "$1")" = "${2#0}" ]; then
    rm -f "$1.new"
  else
    mv -f "$1.new" "$1"
  fi
}

# content PATH: the text of a file, nothing where there is none.
content() { if [ -f "$1" ]; then cat "$1"; fi; }
