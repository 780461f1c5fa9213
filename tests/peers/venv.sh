#!/bin/sh
# Makes the Python environment of the peers that tests run against libzmq, once, and says where its
# Python is. $1: the target directory.
set -eu
packages="pyzmq==27.3.0 msgpack==1.2.4"
venv=$1/peers-venv
exec 9>"$venv.lock"
flock 9
if [ "$(cat "$venv/packages" 2>/dev/null)" != "$packages" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/pip" install --quiet --disable-pip-version-check $packages >&2
    echo "$packages" >"$venv/packages"
fi
echo "$venv/bin/python"
