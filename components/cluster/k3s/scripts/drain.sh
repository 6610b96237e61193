# Runs on a server, before another host (or this one) is changed: forgets the node of a host that was wiped since, keeps new pods
# from one that is about to restart, and moves the others away where they would not outlive it. A host that leaves loses its pods
# and its node.

answers() { [ -x /usr/local/bin/k3s ] && kubectl get --raw=/readyz --request-timeout=10s >/dev/null 2>&1; }

minor() { echo "$1" | cut -d. -f2; }

ready() { [ "$(show '.status.conditions[?(@.type=="Ready")].status')" = True ]; }

# move_away OPTION...: evicts all pods but those of DaemonSets.
move_away() { kubectl drain "$NODE" --ignore-daemonsets --delete-emptydir-data "$@"; }

apply() {
  if ! answers; then
    echo "no cluster answers here yet"
    return
  fi
  exists || return 0
  before=$(note generation)
  tries=12
  if [ -z "$before" ]; then
    # It never worked yet: it was broken off while it was made, and goes on if it is still there.
    until ready || [ "$tries" -eq 0 ]; do
      sleep 5
      tries=$((tries - 1))
    done
    ready || kubectl delete node "$NODE" --timeout=60s
    return
  fi
  if [ "$before" != "$GENERATION" ]; then
    # A node that is still alive is no wiped host. Servers notice a dead one after 50 seconds.
    while ready && [ "$tries" -gt 0 ]; do
      sleep 5
      tries=$((tries - 1))
    done
    if ! ready; then
      kubectl delete node "$NODE" --timeout=60s
      return
    fi
  fi
  running=$(show .status.nodeInfo.kubeletVersion)
  if [ "$(note applied)" = "$HASH" ] && [ "$running" = "$VERSION" ]; then return; fi
  if [ "$(show .spec.unschedulable)" != true ]; then
    kubectl cordon "$NODE"
    kubectl annotate node "$NODE" --overwrite llm-platform/cordoned=yes
  fi
  # Containers go on while k3s restarts (docs.k3s.io, "Stopping K3s"), but for a kubelet of another minor version
  # (kubernetes.io, "Version Skew Policy") and for GPUs that are cut anew.
  if [ "$(minor "$running")" = "$(minor "$VERSION")" ] && [ "$(note mig)" = "$MIG" ]; then return; fi
  if [ "$ALONE" = yes ] || ! move_away "--timeout=${TIMEOUT}s"; then
    # A pool without a spare host has no room for them anywhere, whatever their PodDisruptionBudget wants.
    echo "no other host of its pool takes the pods of $NODE, so they stop until it is back"
    end_pods
  fi
}

end_pods() {
  move_away --disable-eviction "--timeout=${TIMEOUT}s" || {
    kubectl uncordon "$NODE"
    kubectl annotate node "$NODE" llm-platform/cordoned-
    fail "the pods named above did not end within $TIMEOUT seconds; kubectl describe pod says why, then run up again"
  }
}

remove() {
  answers && exists || return 0
  # The last one goes with its cluster.
  [ "$(kubectl get nodes -o name | wc -l)" -gt 1 ] || return 0
  kubectl cordon "$NODE"
  # A dead host ends no pod.
  if ready; then patience=0; else patience=1; fi
  if ! move_away --force "--skip-wait-for-delete-timeout=$patience" "--timeout=${TIMEOUT}s"; then
    echo "not all pods left $NODE within $TIMEOUT seconds; the rest goes with it"
    move_away --force --disable-eviction --skip-wait-for-delete-timeout=1 --timeout=60s || :
  fi
  kubectl delete node "$NODE" --timeout=60s
}
