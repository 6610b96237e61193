#!/bin/sh
# Makes .venv with the pinned packages, each held to its hash, and does nothing when it is there and fresh. With uv this takes
# seconds; where there is no uv, pip fetches it first, and where that fails pip does all of it.
set -eu
cd "$(dirname "$0")/.."
ready=.venv/.ready
packages=requirements-dev.txt
wanted=$(cksum <"$packages")
[ -f "$ready" ] && [ "$(cat "$ready")" = "$wanted" ] && exit 0

python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "error: $python is not there; install Python 3.11 or newer, or set PYTHON" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version 2>&1) is too old; this project needs Python 3.11 or newer: install it, or set PYTHON" >&2
    exit 1
}
echo "setting up .venv (pinned packages from $packages)"
"$python" -m venv .venv || {
    echo "error: $python cannot make a virtual environment; on Debian and Ubuntu install the package python3-venv" >&2
    exit 1
}
pip_install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes "$@"
}
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    sed -n '/^uv==/,/[^\\]$/p' "$packages" >.venv/uv.txt
    if pip_install -r .venv/uv.txt 2>/dev/null && [ -x .venv/bin/uv ]; then uv=.venv/bin/uv; fi
fi
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python .venv/bin/python --require-hashes -r "$packages"
else
    pip_install -r "$packages"
fi
printf '%s' "$wanted" >"$ready"
