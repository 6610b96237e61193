# Files from the internet, or from the mirror where $MIRROR is a directory or an address.

# fetch URL FILE: a download that is whole, or an error.
fetch() {
  code=0
  curl -fsSL --retry 3 --connect-timeout 15 --speed-limit 1024 --speed-time 60 -o "$2" "$1" || code=$?
  [ "$code" -ne 0 ] || return 0
  rm -f "$2"
  if [ "$code" -eq 23 ]; then
    fail "there is no room for $1 in ${2%/*}; make room on that disk (df -h ${2%/*}), then run up again"
  fi
  fail "$1 cannot be downloaded (curl ended with $code); open the way to it or set cluster.mirror, then run up again"
}

# take URL NAME FILE: the file at URL, or the one of that name in the mirror.
take() {
  case $MIRROR in
    '') fetch "$1" "$3" ;;
    https://*) fetch "$MIRROR/$(printf %s "$2" | sed 's/+/%2B/g')" "$3" ;;
    *) cp "$MIRROR/$2" "$3" || fail "the mirror has no $MIRROR/$2, or there is no room for it; put the file of the release there, then run up again" ;;
  esac
}
