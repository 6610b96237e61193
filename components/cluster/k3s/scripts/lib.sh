# The last words of a script that cannot go on: one sentence with the host, what is wrong and what to do.
fail() {
  printf '%s: %s\n' "$HOST" "$*" >&2
  exit 1
}
