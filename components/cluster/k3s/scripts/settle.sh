# Runs on a server, after a host was changed: waits until its node works, and gives it its labels and taints.

wait_ready() {
  tries=60
  until exists; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "it did not join the cluster; look at journalctl -u k3s -u k3s-agent on it, then run up again"
    sleep 2
  done
  # Before it restarted the node was Ready too, so its version is waited for first.
  tries=$((TIMEOUT / 2))
  until [ "$(show .status.nodeInfo.kubeletVersion)" = "$VERSION" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "its node runs $(show .status.nodeInfo.kubeletVersion) and not $VERSION; restart k3s on it, then run up again"
    sleep 2
  done
  kubectl wait --for=condition=Ready "node/$NODE" "--timeout=${TIMEOUT}s" >/dev/null ||
    fail "its node is not Ready after $TIMEOUT seconds; k3s kubectl describe node $NODE on a server says why, then run up again"
}

apply() {
  wait_ready
  for old in $(note labels); do
    case " $LABELS " in *" $old "*) ;; *) kubectl label node "$NODE" "${old%%=*}-" ;; esac
  done
  for old in $(note taints); do
    case " $TAINTS " in *" $old "*) ;; *) kubectl taint node "$NODE" "${old%%=*}:${old##*:}-" || : ;; esac
  done
  # shellcheck disable=SC2086 # lists of words, of which none has a space
  {
    [ -z "$LABELS" ] || kubectl label node "$NODE" --overwrite $LABELS
    [ -z "$TAINTS" ] || kubectl taint node "$NODE" --overwrite $TAINTS
  }
  if [ -n "$(note cordoned)" ]; then
    kubectl uncordon "$NODE"
    kubectl annotate node "$NODE" llm-platform/cordoned-
  fi
  kubectl annotate node "$NODE" --overwrite "llm-platform/generation=$GENERATION" "llm-platform/applied=$HASH" \
    "llm-platform/mig=$MIG" "llm-platform/labels=$LABELS" "llm-platform/taints=$TAINTS"
}
