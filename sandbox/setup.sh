#!/bin/sh
# Makes .venv with the pinned packages, and does nothing when it is there and fresh. With uv this takes seconds; where there is no uv,
# pip fetches it first, and where that fails pip does all of it.
set -eu
cd "$(dirname "$0")/.."
ready=.venv/.ready
wanted=$(cat requirements.txt requirements-dev.txt | cksum)
[ -f "$ready" ] && [ "$(cat "$ready")" = "$wanted" ] && exit 0

python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "error: $python is not there; install Python 3.11 or newer, or set PYTHON" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version 2>&1) is too old; this project needs Python 3.11 or newer: install it, or set PYTHON" >&2
    exit 1
}
echo "setting up .venv (pinned packages from requirements-dev.txt)"
"$python" -m venv .venv || {
    echo "error: $python cannot make a virtual environment; on Debian and Ubuntu install the package python3-venv" >&2
    exit 1
}
uv=$(command -v uv || true)
pinned=$(grep '^uv==' requirements-dev.txt)
if [ -z "$uv" ] && .venv/bin/python -m pip install --quiet --disable-pip-version-check "$pinned" 2>/dev/null; then
    uv=.venv/bin/uv
fi
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python .venv/bin/python -r requirements-dev.txt
else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
fi
printf '%s' "$wanted" >"$ready"
