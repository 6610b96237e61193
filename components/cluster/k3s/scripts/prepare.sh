# Makes a host ready for k3s: kernel settings, the NVIDIA driver where it was asked for, the NVIDIA container toolkit.
# What it installs it notes, and only that is removed later. Notes at the end which generation of the host this is.
# A host that leaves is made what it was: k3s goes from here, so that it does also where it was installed only by half.

sysctls=/etc/sysctl.d/90-llm-platform.conf
deb_source=/etc/apt/sources.list.d/llm-platform-nvidia.list
deb_key=/etc/apt/keyrings/llm-platform-nvidia.asc
rpm_toolkit=llm-platform-nvidia.repo
rpm_cuda=/etc/yum.repos.d/llm-platform-cuda.repo
nvidia=https://nvidia.github.io/libnvidia-container
toolkit_packages="libnvidia-container1 libnvidia-container-tools nvidia-container-toolkit-base nvidia-container-toolkit"

manager() {
  for known in apt-get dnf zypper; do
    if command -v "$known" >/dev/null; then
      echo "$known"
      return
    fi
  done
  fail "it has none of apt-get, dnf and zypper to install packages with; install what the preflight names by hand"
}

installed() {
  if command -v dpkg-query >/dev/null; then
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
  else
    rpm -q "$1" >/dev/null 2>&1
  fi
}

# note PACKAGE...: those that are not installed yet become ours.
note() {
  mkdir -p "$state"
  for package in "$@"; do
    installed "$package" || grep -qxs "$package" "$state/packages" || echo "$package" >>"$state/packages"
  done
}

# run PROGRAM ARGUMENT...: quiet unless it fails. What packages make has to be readable by all.
run() {
  log=$(mktemp)
  if (umask 022 && "$@") >"$log" 2>&1; then
    rm -f "$log"
    return
  fi
  tail -n 5 "$log" >&2
  rm -f "$log"
  fail "$* failed as shown above; put that right on the host, then run up again"
}

# install_packages PACKAGE...: as the package manager writes them, with a version or as files.
install_packages() {
  case $(manager) in
    apt-get) run env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends --allow-downgrades "$@" ;;
    dnf) run dnf install -y "$@" ;;
    zypper) run zypper --non-interactive --gpg-auto-import-keys install -y --oldpackage "$@" ;;
  esac
}

set_kernel() {
  if [ -z "$SYSCTLS" ]; then
    reset_kernel
    return
  fi
  if [ ! -f "$state/sysctl.before" ]; then
    for line in $SYSCTLS; do
      key=${line%=*}
      echo "$key=$(sysctl -n "$key")"
    done | write_file "$state/sysctl.before" 0644
  fi
  for line in $SYSCTLS; do echo "$line"; done | write_file "$sysctls" 0644
  run sysctl -p "$sysctls"
}

reset_kernel() {
  [ -f "$state/sysctl.before" ] || return 0
  rm -f "$sysctls"
  for line in $(content "$state/sysctl.before"); do sysctl -w "$line" >/dev/null 2>&1 || :; done
  rm -f "$state/sysctl.before"
}

install_driver() {
  [ ! -f /proc/driver/nvidia/version ] || return 0
  system=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
  major=$(sed -n 's/^VERSION_ID=//p' /etc/os-release | tr -d '"' | cut -d. -f1)
  case $system-$major in
    ubuntu-*)
      set -- "linux-headers-$(uname -r)" "nvidia-headless-$DRIVER-server-open" "nvidia-utils-$DRIVER-server"
      note "$@"
      run apt-get -o DPkg::Lock::Timeout=300 update
      install_packages "$@"
      ;;
    rhel-9 | almalinux-9 | rocky-9)
      machine=$(uname -m | sed s/aarch64/sbsa/)
      # One that an administrator set up serves as well.
      if [ ! -e /etc/yum.repos.d/cuda-rhel9.repo ]; then
        fetch "https://developer.download.nvidia.com/compute/cuda/repos/rhel9/$machine/cuda-rhel9.repo" "$rpm_cuda"
        chmod 0644 "$rpm_cuda"
      fi
      note kernel-devel-matched kernel-headers nvidia-open
      run dnf module enable -y "nvidia-driver:$DRIVER-open"
      install_packages kernel-devel-matched kernel-headers nvidia-open
      ;;
    *) fail "driver.install knows Ubuntu and RHEL 9; install NVIDIA's driver $DRIVER by hand and set driver.install: false" ;;
  esac
  modprobe nvidia 2>/dev/null || fail "the driver is installed and its module does not load; reboot the host, then run up again"
}

toolkit_version() {
  if command -v nvidia-ctk >/dev/null; then nvidia-ctk --version | sed -n 's/.*version \([0-9.]*\).*/\1/p' | head -n 1; fi
}

install_toolkit() {
  now=$(toolkit_version)
  [ "$now" != "$TOOLKIT" ] || return 0
  # One that somebody else installed stays: the preflight found it new enough.
  if [ -n "$now" ] && ! grep -qxs nvidia-container-toolkit "$state/packages"; then return 0; fi
  # shellcheck disable=SC2086 # a list of words
  note $toolkit_packages
  case $(manager) in
    apt-get) separator='=' ending=-1 ;;
    *) separator='-' ending='' ;;
  esac
  set --
  if [ -z "$MIRROR" ]; then
    add_repository
    for package in $toolkit_packages; do set -- "$@" "$package$separator$TOOLKIT$ending"; done
    install_packages "$@"
  else
    packages=$(mktemp -d)
    for package in $toolkit_packages; do
      if [ "$(manager)" = apt-get ]; then
        file=${package}_$TOOLKIT-1_$(dpkg --print-architecture).deb
      else
        file=$package-$TOOLKIT-1.$(uname -m).rpm
      fi
      take - "packages/$file" "$packages/$file"
      set -- "$@" "$packages/$file"
    done
    chmod -R a+rX "$packages"
    install_packages "$@"
    rm -rf "$packages"
  fi
  now=$(toolkit_version)
  [ "$now" = "$TOOLKIT" ] || fail "the container toolkit is ${now:-missing} after $TOOLKIT was installed; look at its package sources"
}

add_repository() {
  case $(manager) in
    apt-get)
      # One that an administrator set up serves as well.
      if [ -e /etc/apt/sources.list.d/nvidia-container-toolkit.list ]; then
        run apt-get -o DPkg::Lock::Timeout=300 update
        return
      fi
      (umask 022 && mkdir -p "${deb_key%/*}")
      fetch "$nvidia/gpgkey" "$deb_key"
      chmod 0644 "$deb_key"
      # shellcheck disable=SC2016 # apt puts the architecture there
      echo "deb [signed-by=$deb_key] $nvidia/stable/deb/\$(ARCH) /" | write_file "$deb_source" 0644
      run apt-get -o DPkg::Lock::Timeout=300 update
      ;;
    dnf) add_rpm_repository /etc/yum.repos.d ;;
    zypper) add_rpm_repository /etc/zypp/repos.d ;;
  esac
}

add_rpm_repository() {
  [ ! -e "$1/nvidia-container-toolkit.repo" ] || return 0
  fetch "$nvidia/stable/rpm/nvidia-container-toolkit.repo" "$1/$rpm_toolkit"
  chmod 0644 "$1/$rpm_toolkit"
}

remove_packages() {
  [ -s "$state/packages" ] || return 0
  # shellcheck disable=SC2046 # a list of words
  case $(manager) in
    apt-get) run env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 purge -y $(cat "$state/packages") ;;
    dnf) run dnf remove -y $(cat "$state/packages") ;;
    zypper) run zypper --non-interactive remove -y $(cat "$state/packages") ;;
  esac
  rm -f "$state/packages" "$deb_source" "$deb_key"
  rm -f "/etc/yum.repos.d/$rpm_toolkit" "/etc/zypp/repos.d/$rpm_toolkit" "$rpm_cuda"
}

apply() {
  alone
  echo "$CLUSTER" | write_file "$state/cluster" 0644
  set_kernel
  if [ "$DRIVER_INSTALL" = yes ]; then install_driver; fi
  if [ -n "$TOOLKIT" ]; then install_toolkit; fi
  # Last: a host that was broken off before has none, and is prepared again.
  echo "$GENERATION" | write_file "$state/generation" 0644
  # Whoever logs in may look: the program looks before it plans.
  chmod 0755 "$state"
}

# Removes directories that nothing is left in.
prune() { rmdir "$@" 2>/dev/null || :; }

uninstall() {
  if [ -f "$state/mig.before" ]; then unpartition; fi
  for service in k3s k3s-agent; do
    if [ -x "/usr/local/bin/$service-uninstall.sh" ]; then "/usr/local/bin/$service-uninstall.sh" >/dev/null 2>&1 || :; fi
    if [ -f "/etc/systemd/system/$service.service" ]; then systemctl disable --now "$service" >/dev/null 2>&1 || :; fi
    rm -f "/etc/systemd/system/$service.service" "/etc/systemd/system/$service.service.env"
  done
  # What a broken installation leaves, and what the uninstaller does not know.
  # A disk may be mounted at the directory itself.
  rm -rf /usr/local/bin/k3s /usr/local/bin/.k3s.* /etc/rancher/k3s /etc/rancher/node /var/lib/rancher/k3s/* /var/log/pods /var/log/containers ||
    fail "not everything of k3s could be removed; umount what is below /var/lib/rancher/k3s, then run up or destroy again"
  rm -f "$state/install.sh" "$state/applied" "$state/secrets"
  prune /var/lib/rancher/k3s
  prune /etc/rancher /var/lib/rancher
}

remove() {
  alone
  uninstall
  rm -f "$state/generation" "$state/cluster"
  remove_packages
  reset_kernel
  prune "$state"
}
