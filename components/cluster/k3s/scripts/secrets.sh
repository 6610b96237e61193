# Puts the tokens and the registries' passwords on a host. Its standard input is secret; its output is not:
# an identifier that is another one whenever the content is.

dir=/etc/rancher/k3s
ours=$state/secrets

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# put NAME TEXT
put() {
  [ "$(content "$dir/$1")" = "$2" ] || renewed=yes
  printf '%s\n' "$2" | write_file "$dir/$1" 0600
}

apply() {
  alone
  # Put there again whenever this is another text.
  : "$SINCE"
  renewed=no
  # Only the first server makes the tokens, and it keeps the ones it has.
  if [ -n "$TOKEN" ]; then
    put token "$TOKEN"
  elif [ "$ROLE" = server ] && [ ! -s "$dir/token" ]; then
    put token "$(random)"
  fi
  if [ -n "$AGENT_TOKEN" ]; then
    put agent-token "$AGENT_TOKEN"
  elif [ "$ROLE" = server ] && [ ! -s "$dir/agent-token" ]; then
    put agent-token "$(random)"
  fi
  if [ -n "$REGISTRIES" ]; then
    put registries.yaml "$REGISTRIES"
  elif [ -f "$dir/registries.yaml" ]; then
    rm -f "$dir/registries.yaml"
    renewed=yes
  fi
  if [ "$renewed" = yes ] || [ ! -s "$ours" ]; then
    random | cut -c1-12 | write_file "$ours" 0644
  fi
  content "$ours"
}
