#!/usr/bin/bash
# sudo for scripts: really becomes root, with an environment of its own. The lab is told, and may say that a password is needed.
shown=("$@")
variables=()
user=root
while (($#)); do
    case $1 in
    -n | -H | -i | -S | --non-interactive | --set-home | --login | --stdin) shift ;;
    -E | --preserve-env)
        while IFS= read -r name; do variables+=("$name=${!name}"); done <<<"$(compgen -e)"
        shift
        ;;
    --preserve-env=*)
        IFS=, read -ra names <<<"${1#*=}"
        for name in "${names[@]}"; do [[ -v $name ]] && variables+=("$name=${!name}"); done
        shift
        ;;
    -u | --user) user=$2 && shift 2 ;;
    -p | --prompt) shift 2 ;;
    --)
        shift
        break
        ;;
    -*)
        echo "sudo: the rehearsal knows no option $1" >&2
        exit 1
        ;;
    *=*) variables+=("$1") && shift ;;
    *) break ;;
    esac
done
/usr/bin/bash -c '. @HOME@/client' sudo "${shown[@]}" </dev/null || exit
case $user in
root) ids=(--reuid=0 --regid=0 --clear-groups) home=/root ;;
*) ids=(--reuid="$(id -u "$user")" --regid="$(id -g "$user")" --clear-groups) home=/home/$user ;;
esac
environment=(PATH=@PATH@ "HOME=$home" "LOGNAME=$user" "USER=$user" SHELL=/bin/bash LANG="${LANG:-C.UTF-8}"
    "SUDO_USER=$(id -un)" "SUDO_UID=$UID" "SUDO_COMMAND=$*")
(($#)) || { echo "usage: sudo [-n] command" >&2; exit 1; }
exec @HOME@/become "${ids[@]}" /usr/bin/env -i "${environment[@]}" "${variables[@]}" "$@"
