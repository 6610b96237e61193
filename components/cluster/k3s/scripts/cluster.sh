# A server's view of the node $NODE.

kubectl() { /usr/local/bin/k3s kubectl "$@"; }

exists() { kubectl get node "$NODE" >/dev/null 2>&1; }

# show PATH: what the node says there.
show() { kubectl get node "$NODE" -o "jsonpath={$1}"; }

# note NAME: what this program wrote to the node before.
note() { show ".metadata.annotations.llm-platform/$1"; }
