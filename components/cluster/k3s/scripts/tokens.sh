# Prints what other hosts join with: the servers' token and the agents' one, each with the hash of the cluster's authority.

apply() {
  # Read again whenever this is another text.
  : "$SINCE"
  files=/var/lib/rancher/k3s/server
  # Looked for before any is printed: what was printed before an error is repeated with it.
  for file in $files/node-token $files/agent-token; do
    [ -s "$file" ] || fail "k3s made no $file; look at journalctl -u k3s, then run up again"
  done
  head -n 1 $files/node-token
  head -n 1 $files/agent-token
}
