# Prints the administrator's kubeconfig that k3s wrote.

apply() {
  # Read again whenever this is another text.
  : "$SINCE"
  file=/etc/rancher/k3s/k3s.yaml
  [ -s "$file" ] || fail "k3s made no $file; look at journalctl -u k3s, then run up again"
  cat "$file"
}
