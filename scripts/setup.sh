#!/bin/sh
# Make .venv from requirements.lock, or bring it up to date. Usage: scripts/setup.sh [PYTHON]
# .venv/installed is written last, so an interrupted run counts as not done.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "universality: $1" >&2
    exit 1
}

in_range() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

command -v git >/dev/null || fail "git is missing; install it and run make again"

python=
if [ $# -gt 0 ]; then
    command -v "$1" >/dev/null || fail "there is no $1; PYTHON must name Python 3.11, 3.12 or 3.13"
    in_range "$1" || fail "$1 is $("$1" --version 2>&1); Python 3.11, 3.12 or 3.13 is needed"
    python=$1
else
    for candidate in python3 python3.12 python3.11 python3.13; do
        if command -v "$candidate" >/dev/null && in_range "$candidate"; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ]; then
    found=$(python3 --version 2>&1) || found="no python3"
    fail "Python 3.11, 3.12 or 3.13 is needed, found $found; install one or say make PYTHON=..."
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python lacks venv or ensurepip; install them (Debian, Ubuntu: apt install python3-venv)"

rm -f .venv/installed
# An environment of another interpreter, a half-made one or a moved one starts afresh.
if ! { in_range .venv/bin/python && .venv/bin/pip --version; } >/dev/null 2>&1; then
    echo "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
echo "installing requirements.lock into .venv (some minutes the first time)"
# pip unpacks on one core, so two of them install every second package each. --no-compile: Python
# keeps the bytecode of what it imports, a third of all files.
install_half() {
    awk -v half="$1" '/^[^ #]/ { n++ } !/^#/ && n % 2 == half' requirements.lock >".venv/half$1"
    .venv/bin/python -m pip install --quiet --no-compile --no-deps --require-hashes --requirement ".venv/half$1"
}
install_half 0 &
first=$!
other=0
install_half 1 || other=$?
wait "$first"
[ "$other" -eq 0 ]
# What is still lacking is torch: which build of it is this machine's choice, so it has no hash.
.venv/bin/python -m pip install --quiet --no-compile --no-build-isolation --editable .
touch .venv/installed
