# shellcheck shell=bash
# Installs what the machine lacks, and only that.
#
# What is there is found by looking for the program itself, not for a package, so that a server
# built by hand counts too. Package services are kept from starting: ./dev runs private ones.

# The folder with initdb and postgres: the newest that Debian or Ubuntu installed, or the PATH's.
postgres_bin() {
    local newest
    newest=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
    if [ -n "$newest" ]; then
        dirname "$newest"
    elif have postgres && have initdb; then
        dirname "$(command -v postgres)"
    else
        return 1
    fi
}

# Names, one a line, of what is missing; the names are those of the table in package_of. With "tests", of what the
# tests need beside.
missing() {
    local program
    if [ "${1-}" = tests ]; then
        for program in node npm docker-registry tmux; do
            have "$program" || printf '%s\n' "$program"
        done
        chromium_program >/dev/null || ! may_be_packaged chromium || printf 'chromium\n'
    fi
    for program in cc pkg-config git protoc redis-server redis-cli etcd etcdctl python3 setpriv; do
        have "$program" || printf '%s\n' "$program"
    done
    postgres_bin >/dev/null || printf 'postgres\n'
    [ -e /usr/include/google/protobuf/empty.proto ] || printf 'protobuf-headers\n'
    if have python3; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv\n'
    else
        printf 'python3-venv\n'
    fi
}

# Whether the distribution has such a package, as Ubuntu has none of chromium (browser_environment fetches one there).
# A new machine has no lists of packages yet: there it may.
may_be_packaged() {
    have apt-cache || return 1
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || return 0
    # Without -q, which would break the pipe: apt-cache fails then, and so would this.
    apt-cache policy "$1" | grep 'Candidate: [0-9]' >/dev/null
}

# The package (Debian 12's name, or Ubuntu's where that differs) that brings a missing thing.
package_of() {
    case "$1" in
    cc) echo gcc libc6-dev ;;
    node) echo nodejs ;;
    chromium) ! may_be_packaged chromium || echo chromium ;;
    npm | docker-registry | tmux | pkg-config | git | redis-server | python3 | python3-venv) echo "$1" ;;
    protoc) echo protobuf-compiler ;;
    protobuf-headers) echo libprotobuf-dev ;;
    redis-cli) echo redis-tools ;;
    etcd) first_known etcd-server etcd ;;
    etcdctl) first_known etcd-client etcd ;;
    postgres) echo postgresql ;;
    setpriv) echo util-linux ;;
    esac
}

# The first of the package names that this release of the distribution has.
first_known() {
    local name
    for name in "$@"; do
        if apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    fail "no package of the names: $*"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "root is needed to install packages, and sudo is missing: run as root: $*"
    fi
}

# Runs apt-get with installed services kept from starting (policy-rc.d, exit 101: not allowed).
apt_quietly() {
    local policy=/usr/sbin/policy-rc.d ours='' log status=0
    log=$(mktemp)
    if [ ! -e "$policy" ]; then
        ours=yes
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y "$@" >"$log" 2>&1 </dev/null || status=$?
    [ -z "$ours" ] || as_root rm -f "$policy"
    [ "$status" = 0 ] || tail -n 20 "$log" >&2
    rm -f "$log"
    return "$status"
}

# install_packages [tests]
install_packages() {
    local lacking packages=() thing
    lacking=$(missing "$@")
    [ -n "$lacking" ] || return 0
    have apt-get || fail "missing: $(echo "$lacking" | tr '\n' ' '); install them (apt-get is not on this machine)"
    say "updating the package lists"
    apt_quietly update || fail "apt-get update failed"
    for thing in $lacking; do
        # shellcheck disable=SC2207  # a thing may need two packages
        packages+=($(package_of "$thing"))
    done
    if [ "${#packages[@]}" -gt 0 ]; then
        say "installing: ${packages[*]}"
        apt_quietly install --no-install-recommends "${packages[@]}" || fail "apt-get install failed"
    fi
    lacking=$(missing "$@")
    [ -z "$lacking" ] || fail "still missing after the installation: $(echo "$lacking" | tr '\n' ' ')"
}

# The toolchain is the user's own choice of place, so it is never installed here.
check_rust() {
    local wanted
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
    have cargo || fail "Rust $wanted or newer is missing: install it with rustup (https://rustup.rs), open a new shell, run again"
    (cd "$ROOT" && cargo --version >/dev/null 2>&1) ||
        fail "cargo does not run here: 'rustup toolchain install $(sed -n 's/^channel = "\(.*\)"$/\1/p' "$ROOT/rust-toolchain.toml")' brings the toolchain of this repository"
    local found
    found=$(cd "$ROOT" && cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "Rust $found is too old, $wanted or newer is needed: 'rustup update', or see https://rustup.rs"
}
