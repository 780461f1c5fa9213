# shellcheck shell=bash
# What every part of ./dev uses: saying things, and where things are.

say() { printf '%s\n' "$*"; }
warn() { printf 'dev: %s\n' "$*" >&2; }
fail() {
    warn "$*"
    exit 1
}

# A file or folder name made absolute against the caller's folder; nothing needs to exist.
absolute() {
    case "$1" in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

have() { command -v "$1" >/dev/null 2>&1; }

# Downloads and Python environments live in the user's cache: they outlive a clone.
cache_dir() { printf '%s\n' "${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/backendai-dev"; }

# Where cargo puts what it builds: what the caller chose, or target/.
target_dir() { absolute "${CARGO_TARGET_DIR:-$ROOT/target}"; }
