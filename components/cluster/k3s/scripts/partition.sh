# GPUs as they were before they were cut.

mig_service=/etc/systemd/system/llm-platform-mig.service

free_gpus() {
  if [ -x /usr/local/bin/k3s-killall.sh ]; then /usr/local/bin/k3s-killall.sh >/dev/null 2>&1 || :; fi
}

unpartition() {
  free_gpus
  systemctl disable --now llm-platform-mig >/dev/null 2>&1 || :
  for line in $(content "$state/mig.before"); do
    gpu=${line%,*}
    nvidia-smi mig -i "$gpu" -dci >/dev/null 2>&1 || :
    nvidia-smi mig -i "$gpu" -dgi >/dev/null 2>&1 || :
    if [ "${line#*,}" = Disabled ]; then nvidia-smi -i "$gpu" -mig 0 >/dev/null 2>&1 || :; fi
  done
  rm -f "$mig_service" "$state/mig.before" "$state/mig.sh" "$state/applied"
  systemctl daemon-reload
}
