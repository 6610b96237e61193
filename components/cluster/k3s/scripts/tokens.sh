# Prints what other hosts join with: the servers' token and the agents' one, each with the hash of the cluster's authority.

apply() {
  # Read again whenever this is another text.
  : "$SINCE"
  for name in node-token agent-token; do
    file=/var/lib/rancher/k3s/server/$name
    [ -s "$file" ] || fail "k3s made no $file; look at journalctl -u k3s, then run up again"
    head -n 1 "$file"
  done
}
