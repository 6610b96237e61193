# Makes a host a node of the cluster, or changes the node that it is: binary, configuration, MIG instances, service. Restarts k3s
# only when something it reads changed. Run again after a break it goes on where it stopped.

binary=/usr/local/bin/k3s
config=/etc/rancher/k3s
server_files=/var/lib/rancher/k3s/server
images=/var/lib/rancher/k3s/agent/images
releases=https://github.com/k3s-io/k3s/releases/download
if [ "$ROLE" = server ]; then service=k3s; else service=k3s-agent; fi

running_version() { if [ -x "$binary" ]; then "$binary" --version | awk 'NR == 1 { print $3 }'; fi; }

minor() { echo "$1" | cut -d. -f2; }

newest() { printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1; }

# verify FILE NAME SUMS: whether the file is the one of that name in a release's list of checksums.
verify() {
  expected=$(awk -v name="$2" '$2 == name { print $1 }' "$3")
  [ -n "$expected" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$expected" ] && return
  rm -rf "${1%/*}"
  fail "$2 of $VERSION is not what its checksum says; download it again, or put the right file into the mirror"
}

install_binary() {
  now=$(running_version)
  if [ "$now" = "$VERSION" ] && [ -f "/etc/systemd/system/$service.service" ] && [ -f "$state/install.sh" ]; then return; fi
  # An agent holds no etcd: it may leave versions out.
  if [ -n "$now" ] && [ "$ROLE" = server ]; then
    [ "$(newest "$now" "$VERSION")" = "$VERSION" ] || fail "k3s $now runs here and $VERSION is older, which its data would not survive; set cluster.version: $now or newer"
    [ $(($(minor "$VERSION") - $(minor "$now"))) -le 1 ] || fail "k3s $now runs here and $VERSION skips a minor version; go to 1.$(($(minor "$now") + 1)) first"
  fi
  case $(uname -m) in
    aarch64) architecture=arm64 name=k3s-arm64 ;;
    *) architecture=amd64 name=k3s ;;
  esac
  release=$releases/$(printf %s "$VERSION" | sed 's/+/%2B/g')
  mkdir -p "${binary%/*}" "$state" || fail "${binary%/*} cannot be written; make room there, then run up again"
  work=$(mktemp -d "${binary%/*}/.k3s.XXXXXX") || fail "${binary%/*} cannot be written; make room there, then run up again"
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  take "$release/sha256sum-$architecture.txt" "$VERSION/sha256sum-$architecture.txt" "$work/sums"
  take "https://raw.githubusercontent.com/k3s-io/k3s/$(printf %s "$VERSION" | sed 's/+/%2B/g')/install.sh" "$VERSION/install.sh" "$work/install.sh"
  if [ "$now" != "$VERSION" ]; then
    take "$release/$name" "$VERSION/$name" "$work/$name"
    verify "$work/$name" "$name" "$work/sums"
    if [ -n "$MIRROR" ]; then
      archive=k3s-airgap-images-$architecture.tar.zst
      take - "$VERSION/$archive" "$work/$archive"
      verify "$work/$archive" "$archive" "$work/sums"
      mkdir -p "$images"
      rm -f "$images"/k3s-airgap-images-*
      mv "$work/$archive" "$images/$archive"
    fi
    if [ -n "$now" ] && [ "$ROLE" = server ] && systemctl is-active --quiet k3s; then
      "$binary" etcd-snapshot save --name "before-$(printf %s "$VERSION" | tr '+' '-')" >/dev/null 2>&1 ||
        fail "etcd could not be saved before the upgrade; k3s etcd-snapshot save says why, then run up again"
    fi
    chmod 0755 "$work/$name"
    mv -f "$work/$name" "$binary"
  fi
  write_file "$state/install.sh" 0644 <"$work/install.sh"
  rm -rf "$work"
  # SELinux's package comes from its repository unless there is a mirror.
  if [ -n "$MIRROR" ]; then skip=true; else skip=binary; fi
  log=$(mktemp)
  (
    umask 022
    INSTALL_K3S_SKIP_DOWNLOAD=$skip INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=$ROLE sh "$state/install.sh"
  ) >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    rm -f "$log"
    fail "the installer of k3s failed as shown above; put that right on the host, then run up again"
  }
  rm -f "$log"
}

# One host cannot be both, and what the one leaves would break the other.
check_role() {
  if [ "$ROLE" = server ]; then other=k3s-agent; else other=k3s; fi
  [ ! -f "/etc/systemd/system/$other.service" ] || fail "it runs $other and should become a $ROLE; take it out of the stack, run up, put it back and run up again"
}

configure() {
  (umask 022 && mkdir -p /var/lib/rancher/k3s)
  config_file | write_file "$config/config.yaml" 0600
  if [ "$HARDENED" = yes ]; then
    admission_file | write_file "$server_files/psa.yaml" 0600
    audit_file | write_file "$server_files/audit.yaml" 0600
    mkdir -p "$server_files/logs"
    chmod 0700 "$server_files/logs"
  fi
  # Which cluster to join is decided once: a server that has its part of etcd keeps it.
  join=$config/config.yaml.d/10-join.yaml
  if [ "$ROLE" = agent ]; then
    echo "server: https://$ENDPOINT:6443" | write_file "$join" 0600
  elif [ ! -s "$join" ] || [ ! -d "$server_files/db/etcd" ]; then
    found=
    for address in $SERVERS; do
      if curl -kfsS -m 5 -o /dev/null "https://$address:6443/ping" 2>/dev/null; then
        found=$address
        break
      fi
    done
    if [ -n "$found" ]; then
      echo "server: https://$found:6443" | write_file "$join" 0600
    elif [ "$FIRST" = yes ]; then
      echo "cluster-init: true" | write_file "$join" 0600
    else
      fail "no server of the cluster answers on port 6443 ($SERVERS); start k3s on one of them, open the port, then run up again"
    fi
  fi
}

# obstacle: what the service logged since this run began that no waiting helps against; nothing when it may still come up.
obstacle() {
  case $log in
    *"Node password rejected"*) echo "the cluster knows a node of this name with another password; delete it on a server with k3s kubectl delete node $HOST" ;;
    *"duplicate node name"*) echo "etcd has a member of this name; delete its node on another server with k3s kubectl delete node $HOST" ;;
    *"encrypted with different token"* | *"token CA hash does not match"* | *"not authorized"*) echo "the cluster does not take its token; delete $config/token and $config/agent-token here" ;;
    *"invalid kernel flag"*) echo "the kernel settings of /etc/sysctl.d/90-llm-platform.conf do not hold; sysctl --system sets them" ;;
    *"no space left on device"*) echo "a disk is full; make room (df -h)" ;;
  esac
}

# reason: why the service did not come up in time.
reason() {
  case $log in
    *"address already in use"*) echo "something else uses a port of k3s; ss -ltnup shows what" ;;
    *"not yet valid"* | *"certificate has expired"*) echo "certificates do not fit its clock; set the clock" ;;
    *"connection refused"* | *"no route to host"* | *"i/o timeout"* | *"deadline exceeded"*) echo "it does not reach the servers on port 6443; open the port and look whether they run" ;;
    *)
      last=$(printf '%s\n' "$log" | sed -n 's/.*level=\(fatal\|error\) msg="\{0,1\}//p' | tail -n 1 | cut -c 1-200)
      echo "${last:+it logs \"${last%\"}\"; }journalctl -u $service says why"
      ;;
  esac
}

up() {
  systemctl is-active --quiet "$service" || return 1
  [ "$ROLE" = agent ] || "$binary" kubectl get --raw=/readyz --request-timeout=10s >/dev/null 2>&1
}

restart() {
  began=$(date +%s)
  # Waiting for the service itself could take for ever.
  systemctl restart --no-block "$service"
  sleep 2
  until up; do
    waited=$(($(date +%s) - began))
    log=$(journalctl -u "$service" --since "@$began" -n 200 --no-pager -o cat 2>/dev/null || :)
    # The others may take a moment to forget the node it was.
    if [ "$waited" -gt 30 ] && [ -n "$(obstacle)" ]; then fail "k3s does not come up: $(obstacle), then run up again"; fi
    [ "$waited" -lt "$TIMEOUT" ] || fail "k3s does not come up within $TIMEOUT seconds: $(reason), then run up again"
    sleep 2
  done
}

# MIG instances can be changed only while nothing uses the GPUs.
partition() {
  if [ "$MIG" = no ]; then
    if [ -f "$mig_service" ]; then unpartition; fi
    return
  fi
  if [ ! -f "$state/mig.before" ]; then
    nvidia-smi --query-gpu=index,mig.mode.current --format=csv,noheader | tr -d ' ' | write_file "$state/mig.before" 0644
  fi
  mig_file | write_file "$state/mig.sh" 0755
  mig_unit | write_file "$mig_service" 0644
  systemctl daemon-reload
  systemctl enable llm-platform-mig >/dev/null 2>&1
  if ! sh "$state/mig.sh" check; then
    free_gpus
    systemctl restart llm-platform-mig || fail "$(journalctl -u llm-platform-mig -n 1 --no-pager -o cat)"
    rm -f "$state/applied"
  fi
}

# k3s finds nvidia-container-runtime by itself when it starts.
check_runtime() {
  [ "$NVIDIA" = yes ] || return 0
  grep -qs nvidia /var/lib/rancher/k3s/agent/etc/containerd/config.toml ||
    fail "k3s did not find nvidia-container-runtime; look whether it is in /usr/bin, then systemctl restart $service and run up again"
}

apply() {
  alone
  wanted="$GENERATION $HASH $SECRETS"
  if [ -f "$state/applied" ] && ! [ -f "/etc/systemd/system/$service.service" ]; then rm -f "$state/applied"; fi
  check_role
  configure
  install_binary
  partition
  if [ "$(content "$state/applied")" != "$wanted" ] || ! up; then
    restart
  fi
  check_runtime
  echo "$wanted" | write_file "$state/applied" 0644
}
