# Cuts every GPU of this host into instances of one kind. A service runs it at every start, before k3s: what it makes does not
# outlive a reboot. With the argument `check` it changes nothing and only tells, by its status, whether they are there.

mode() { nvidia-smi -i "$1" --query-gpu="mig.mode.$2" --format=csv,noheader; }

# as_wanted GPU: whether its instances are the wanted ones.
as_wanted() {
  found=$(nvidia-smi -i "$1" -L | sed -n 's/^ *MIG \([^ ]*\) .*/\1/p')
  [ "$(echo "$found" | grep -cx "$MIG_PROFILE")" -eq "$MIG_COUNT" ] && [ "$(echo "$found" | wc -l)" -eq "$MIG_COUNT" ]
}

cut() {
  if [ "$(mode "$1" current)" != Enabled ]; then
    nvidia-smi -i "$1" -mig 1 >/dev/null || fail "MIG cannot be switched on for GPU $1; set sharing.kind: timeSlicing for a GPU without MIG"
    # GPUs before Hopper take the mode with a reset.
    if [ "$(mode "$1" current)" != Enabled ]; then
      nvidia-smi -i "$1" --gpu-reset >/dev/null || fail "GPU $1 takes MIG only with a reset, which is refused; reboot the host"
    fi
  fi
  # Each ends with an error when there is nothing to destroy.
  nvidia-smi mig -i "$1" -dci >/dev/null 2>&1 || :
  nvidia-smi mig -i "$1" -dgi >/dev/null 2>&1 || :
  profiles=$MIG_PROFILE
  while [ "$(echo "$profiles" | tr ',' '\n' | wc -l)" -lt "$MIG_COUNT" ]; do profiles=$profiles,$MIG_PROFILE; done
  nvidia-smi mig -i "$1" -cgi "$profiles" -C >/dev/null || fail "GPU $1 cannot be cut into $MIG_COUNT x $MIG_PROFILE; nvidia-smi mig -i $1 -lgip shows what it can be cut into"
}

main() {
  for gpu in $(nvidia-smi --query-gpu=index --format=csv,noheader); do
    if as_wanted "$gpu"; then continue; fi
    if [ "${1:-}" = check ]; then exit 1; fi
    cut "$gpu"
  done
}
