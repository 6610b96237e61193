# Looks at a host and changes nothing. Ends with an error that has a sentence for every fault. `report` prints a line for every
# check: ok, warn or fault, the check's name, a sentence and a remedy, with tabs between them.

ok() { [ -z "$reports" ] || printf 'ok\t%s\t%s\t\n' "$1" "$2"; }
warn() {
  if [ -n "$reports" ]; then
    printf 'warn\t%s\t%s\t%s\n' "$1" "$2" "$3"
  else
    echo "$HOST: $2; $3"
  fi
}
fault() {
  [ -z "$reports" ] || printf 'fault\t%s\t%s\t%s\n' "$1" "$2" "$3"
  faults="$faults$HOST: $2; $3
"
}

runs_k3s() { active k3s || active k3s-agent; }

# at_least VERSION LEAST: whether a dotted version is not older.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

active() { systemctl is-active --quiet "$1" 2>/dev/null; }

check_system() {
  id=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
  release=$(sed -n 's/^VERSION_ID=//p' /etc/os-release | tr -d '"')
  case " $SYSTEMS " in
    *" $id-$release "* | *" $id-${release%%.*} "*) ok system "$id $release" ;;
    *) fault system "$id $release is not a system this platform installs k3s on" "use one of $SYSTEMS" ;;
  esac
  kernel=$(uname -r)
  if at_least "${kernel%%-*}" "$KERNEL"; then
    ok kernel "Linux $kernel"
  else
    fault kernel "its kernel is $kernel and Kubernetes with cgroup v2 needs $KERNEL" "upgrade the system's kernel and reboot"
  fi
  machine=$(uname -m)
  case $machine in
    x86_64 | aarch64) ok architecture "$machine" ;;
    *) fault architecture "its processor is $machine and k3s is installed here for x86_64 and aarch64" "use another host" ;;
  esac
  if [ "$id" = rhel ] || [ "$id" = almalinux ] || [ "$id" = rocky ]; then
    if [ "${release%%.*}" = 10 ] && ! rpm -q kernel-modules-extra >/dev/null 2>&1; then
      fault modules "the package kernel-modules-extra is missing, which k3s needs on $id 10" "dnf install -y kernel-modules-extra, then reboot"
    fi
  fi
  if command -v systemctl >/dev/null; then
    ok systemd "runs services"
  else
    fault systemd "there is no systemctl, and k3s runs as a service of systemd" "use a system with systemd"
  fi
  for program in curl sha256sum flock; do
    command -v "$program" >/dev/null || fault programs "the program $program is missing" "install the package that has it"
  done
}

check_stranger() {
  if [ -d /etc/llm-platform ]; then
    other=$(cat /etc/llm-platform/cluster 2>/dev/null || :)
    if [ -n "$other" ] && [ "$other" != "$CLUSTER" ]; then
      fault cluster "it is a host of the cluster $other" "take it out of that stack first, or use another host"
    fi
    return
  fi
  if [ -e /usr/local/bin/k3s ]; then
    fault k3s "k3s is installed already, and not by this platform" "k3s-uninstall.sh or k3s-agent-uninstall.sh removes it with all its data; or use another host"
    return
  fi
  # What only a cluster makes: a disk may be mounted at /var/lib/rancher, and k3s-selinux makes directories below it.
  for path in /var/lib/rancher/k3s/server /var/lib/rancher/k3s/agent/kubelet.kubeconfig /etc/rancher/k3s/config.yaml /var/lib/rancher/rke2 /etc/kubernetes/manifests; do
    [ ! -e "$path" ] || fault kubernetes "$path is there, and not from this platform" "remove what it belongs to, or use another host"
  done
}

check_resources() {
  processors=$(nproc)
  memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
  if [ "$processors" -ge "$PROCESSORS" ] && [ "$memory" -ge "$MEMORY" ]; then
    ok size "$processors processors, $memory MiB"
  else
    fault size "it has $processors processors and $memory MiB, and a $ROLE of k3s needs $PROCESSORS and $MEMORY MiB" "use a larger host"
  fi
  for directory in $DISKS; do
    least=${directory#*=}
    directory=${directory%=*}
    # Where k3s runs the room is taken by what it needs it for.
    if runs_k3s && [ "$least" -gt 5 ]; then least=5; fi
    existing=$directory
    until [ -d "$existing" ]; do existing=$(dirname "$existing"); done
    free=$(df -Pk "$existing" | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "$free" -ge "$least" ]; then
      ok disk "$free GiB free for $directory"
    else
      fault disk "$directory has $free GiB free and needs $least" "delete what is not needed or give $directory a larger disk"
    fi
  done
  if [ "$(awk 'NR > 1' /proc/swaps | wc -l)" -eq 0 ]; then
    ok swap off
  else
    fault swap "swap is on, and the kubelet would not start" "swapoff -a, and remove its line from /etc/fstab"
  fi
}

check_cgroups() {
  if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ] && [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then
    fault cgroups "it runs cgroup v1, which Kubernetes no longer takes" "boot with systemd.unified_cgroup_hierarchy=1"
    return
  fi
  missing=
  for controller in cpu memory pids; do
    grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers || missing="$missing $controller"
  done
  if [ -z "$missing" ]; then
    ok cgroups "version 2 with cpu, memory and pids"
  else
    fault cgroups "its cgroups have no controller$missing" "boot with cgroup_enable=memory and without cgroup_disable"
  fi
}

check_clock() {
  if [ "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)" = yes ]; then
    ok clock synchronised
  else
    fault clock "its clock is not synchronised, so certificates and etcd would fail" "timedatectl set-ntp true, or run chrony"
  fi
}

check_network() {
  name=$(hostname)
  case $name in
    *[!a-z0-9.-]*) fault hostname "its host name $name has letters a node name cannot have" "hostnamectl set-hostname $HOST" ;;
    *) ok hostname "$name" ;;
  esac
  if runs_k3s; then
    ok ports "k3s runs here already"
  else
    taken=
    for port in $PORTS; do
      if ss -Hltnu | awk '{ print $5 }' | grep -q ":$port\$"; then taken="$taken $port"; fi
    done
    if [ -z "$taken" ]; then
      ok ports "free:${PORTS:+ }$PORTS"
    else
      fault ports "something listens on$taken, which k3s needs" "ss -ltnup shows what to stop"
    fi
  fi
  for firewall in firewalld ufw; do
    if active "$firewall"; then
      warn firewall "$firewall is active" "open 6443, 10250/tcp and 8472/udp to the other hosts, and trust 10.42.0.0/16 and 10.43.0.0/16 (docs.k3s.io, Requirements)"
    fi
  done
  if command -v getenforce >/dev/null && [ "$(getenforce)" = Enforcing ]; then
    if rpm -q k3s-selinux >/dev/null 2>&1 || [ "$MIRROR" = no ]; then
      ok selinux "enforcing"
    else
      fault selinux "SELinux enforces and the package k3s-selinux is missing, which a mirror does not bring" "install it from your own repository (github.com/k3s-io/k3s-selinux)"
    fi
  fi
}

# Accelerators on the PCI bus: a display controller, a 3D controller or a processing accelerator of the pool's vendor.
check_accelerators() {
  [ -n "$PCI_VENDOR" ] || return 0
  found=0
  for device in /sys/bus/pci/devices/*; do
    [ -f "$device/vendor" ] || continue
    [ "$(cat "$device/vendor")" = "$PCI_VENDOR" ] || continue
    case $(cat "$device/class") in 0x03* | 0x1200*) found=$((found + 1)) ;; esac
  done
  if [ "$found" -eq "$PER_NODE" ]; then
    ok accelerators "$found on the PCI bus"
  elif [ "$found" -gt "$PER_NODE" ]; then
    warn accelerators "it has $found accelerators and the stack names $PER_NODE" "set accelerator.perNode: $found"
  elif [ "$found" -eq 0 ]; then
    fault accelerators "it has no accelerator of vendor $PCI_VENDOR on the PCI bus and the stack names $PER_NODE" "look at lspci -d ${PCI_VENDOR#0x}:, or take the host out of this pool"
  else
    fault accelerators "it has $found accelerators of vendor $PCI_VENDOR on the PCI bus and the stack names $PER_NODE" "seat or replace the missing ones, or set accelerator.perNode: $found"
  fi
}

check_nvidia() {
  [ "$PCI_VENDOR" = 0x10de ] || return 0
  if grep -qs '^nouveau ' /proc/modules; then
    fault nouveau "the module nouveau holds the GPUs" "echo blacklist nouveau > /etc/modprobe.d/nouveau.conf, rebuild the initramfs and reboot"
  fi
  driver=
  if [ -f /proc/driver/nvidia/version ]; then
    driver=$(sed -n 's/^NVRM version:.* \([0-9][0-9]*\.[0-9.]*\) .*/\1/p' /proc/driver/nvidia/version)
  fi
  if [ -z "$driver" ]; then
    if [ "$DRIVER_INSTALL" = yes ]; then
      ok driver "none yet; it will be installed"
    else
      fault driver "no NVIDIA driver is loaded, and the engine needs $DRIVER or newer" "install one (e.g. apt-get install nvidia-headless-$DRIVER-server-open nvidia-utils-$DRIVER-server), or set cluster.driver.install: true"
    fi
  elif at_least "$driver" "$DRIVER"; then
    ok driver "$driver"
  else
    fault driver "its NVIDIA driver is $driver and the engine's CUDA needs $DRIVER or newer" "upgrade the driver and reboot"
  fi
  if ! command -v nvidia-ctk >/dev/null; then
    ok toolkit "none yet; it will be installed"
  else
    toolkit=$(nvidia-ctk --version | sed -n 's/.*version \([0-9.]*\).*/\1/p' | head -n 1)
    if at_least "$toolkit" "$TOOLKIT_LEAST" || grep -qxs nvidia-container-toolkit /etc/llm-platform/packages; then
      ok toolkit "$toolkit"
    else
      fault toolkit "its NVIDIA container toolkit is $toolkit, which lets containers out (CVE-2025-23266)" "install $TOOLKIT_LEAST or newer"
    fi
  fi
}

apply() {
  reports=
  look
}

report() {
  reports=yes
  look
}

look() {
  # Looked at again whenever this is another text.
  : "$SINCE"
  faults=
  check_system
  check_stranger
  check_resources
  check_cgroups
  check_clock
  check_network
  check_accelerators
  check_nvidia
  if [ -n "$faults" ]; then
    printf '%s' "$faults" >&2
    exit 1
  fi
}
