# shellcheck shell=bash
# Python environments of the tests, made once and kept in the user's cache.

# python_environment NAME PYTHON REQUIREMENTS: prints the folder of a virtual environment that has
# exactly these requirements; makes it where there is none, or where the file has changed.
python_environment() {
    local name=$1 python=$2 requirements=$3 place stamp log
    place=$(cache_dir)/venvs/$name
    stamp=$("$python" --version 2>&1; cat "$requirements")
    if [ "$(cat "$place/made-from" 2>/dev/null)" != "$stamp" ]; then
        say "making the Python environment $name" >&2
        rm -rf "$place"
        mkdir -p "$(dirname "$place")"
        log=$(mktemp)
        if ! { "$python" -m venv "$place" && timeout 600 "$place/bin/pip" install -q --disable-pip-version-check -r "$requirements"; } >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -rf "$log" "$place"
            fail "the Python environment $name could not be made"
        fi
        rm -f "$log"
        printf '%s\n' "$stamp" >"$place/made-from"
    fi
    printf '%s\n' "$place"
}

# A Python 3.6, for which the client releases from 1.1 on were made: on the PATH, or pyenv's.
python36() {
    local candidate
    for candidate in python3.6 "${PYENV_ROOT:-${HOME-}/.pyenv}"/versions/3.6.*/bin/python3.6; do
        if [ "$("$candidate" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)" = "(3, 6)" ]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# The Python of 1.0.6 with an aiohttp of its time, with which its coroutines run; nothing where there is no Python 3.6.
client_of_2017() {
    local old place
    old=$(python36) || return 0
    place=$(python_environment client-1.0.6-of-2017 "$old" "$ROOT/tests/sdk/requirements-1.0.6-of-2017.txt") || return 1
    printf '%s\n' "$place/bin/python"
}

# "VERSION=PYTHON ..." of every released client that this machine can run.
client_releases() {
    local old release place releases
    place=$(python_environment client-1.0.6 python3 "$ROOT/tests/sdk/requirements-1.0.6.txt") || return 1
    releases="1.0.6=$place/bin/python"
    if old=$(python36); then
        for release in 1.3.7 1.4.2 1.5.1 18.12.3; do
            place=$(python_environment "client-$release" "$old" "$ROOT/tests/sdk/requirements-$release.txt") || return 1
            releases+=" $release=$place/bin/python"
        done
    else
        warn "no Python 3.6 here: only the client 1.0.6 is tested, not 1.3.7, 1.4.2, 1.5.1 and 18.12.3"
    fi
    printf '%s\n' "$releases"
}
