# shellcheck shell=bash
# Private servers of one ./dev up: starting, watching and ending them.
#
# Each process has run/NAME.pid with its pid and its start time (a pid alone may have been given to
# somebody else since) and log/NAME.log. It runs in a session of its own, so that a Ctrl-C on the
# terminal reaches only ./dev, which then ends them in good order.

ORDER_OF_START=(postgres redis etcd gateway agent)
ORDER_OF_END=(gateway agent redis etcd postgres)

# === Processes ===

# State and start time of a pid ("S 12345"), from the fields after the name in /proc/PID/stat.
process_identity() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086  # fields are to be split
    set -- ${stat##*) }
    printf '%s %s\n' "$1" "${20}"
}

pid_of() { cut -d' ' -f1 "$DATA/run/$1.pid" 2>/dev/null; }

# Whether the named process runs: the same one that was started, and not a zombie.
alive() {
    local pid started state now
    read -r pid started 2>/dev/null <"$DATA/run/$1.pid" || return 1
    read -r state now <<<"$(process_identity "$pid")"
    [ "$now" = "$started" ] && [ "$state" != Z ]
}

# launch NAME COMMAND...: starts it in the background and notes who it is.
launch() {
    local name=$1 identity
    shift
    setsid "$@" </dev/null >>"$DATA/log/$name.log" 2>&1 9>&- &
    identity=$(process_identity $!) || fail "$name did not start: $(last_words "$name")"
    printf '%s %s\n' "$!" "${identity#* }" >"$DATA/run/$name.pid"
}

last_words() { tail -n 1 "$DATA/log/$1.log" 2>/dev/null; }

# await NAME SECONDS CHECK...: returns when the check succeeds; fails when the process ends first.
await() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$name" || fail "$name ended at its start: $(last_words "$name") (log: $DATA/log/$name.log)"
        [ "$SECONDS" -lt "$deadline" ] || fail "$name is not ready: $(last_words "$name") (log: $DATA/log/$name.log)"
        sleep 0.05
    done
}

# end NAME: asks it to stop, waits, and after half a minute insists.
end() {
    local name=$1 pid signal=TERM deadline
    alive "$name" || { rm -f "$DATA/run/$name.pid"; return 0; }
    pid=$(pid_of "$name")
    # PostgreSQL's TERM waits for its clients; INT is its orderly stop that does not.
    [ "$name" != postgres ] || signal=INT
    kill -s "$signal" "$pid" 2>/dev/null || true
    deadline=$((SECONDS + 35))
    while alive "$name"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            warn "$name (pid $pid) does not stop; killing it"
            kill -s KILL "$pid" 2>/dev/null || true
            deadline=$((SECONDS + 5))
        fi
        sleep 0.05
    done
    rm -f "$DATA/run/$name.pid"
}

end_all() {
    local name
    for name in "${ORDER_OF_END[@]}"; do end "$name"; done
}

# === Checks ===

# The status code of GET PATH at a port of 127.0.0.1.
http_status() {
    local status line
    exec 8<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&8
    read -r -t 5 -u 8 line || line=
    exec 8>&-
    read -r _ status _ <<<"$line"
    printf '%s\n' "$status"
}

answers_200() { [ "$(http_status "$1" "$2" 2>/dev/null)" = 200 ]; }

sql() { PGPASSWORD=$BACKEND_DB_PASSWORD "$(postgres_bin)/psql" -X -q -t -A -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${BACKEND_DB_ADDR#*:}" -U "$BACKEND_DB_USER" "$@"; }

agent_known() { [ "$(sql -d "$BACKEND_DB_NAME" -c "SELECT count(*) FROM agents WHERE status = 'ALIVE'")" -gt 0 ]; }

# === The servers ===

# Runs a command with this process as its parent: where ./dev itself is killed, its servers end too.
# `./dev start NAME` ends at once by nature, and sets KEEP.
tied() { [ -n "${KEEP-}" ] || printf '%s\n' --pdeathsig TERM; }

# PostgreSQL refuses to run as root, so that root lends it to another user.
postgres_user() {
    local user
    for user in postgres nobody; do
        if id "$user" >/dev/null 2>&1; then
            echo "$user"
            return
        fi
    done
    fail "PostgreSQL does not run as root, and neither of the users postgres and nobody exists"
}

# The options of setpriv under which PostgreSQL's programs run, one a line.
postgres_privileges() {
    [ "$(id -u)" = 0 ] || return 0
    local user
    user=$(postgres_user)
    printf '%s\n' "--reuid=$user" "--regid=$(id -g "$user")" --init-groups
}

as_postgres() {
    local options
    mapfile -t options < <(postgres_privileges)
    (cd / && setpriv "${options[@]}" -- "$@")
}

# Makes the cluster. Where the other user cannot reach $DATA (a home of root's), the files live in
# /var/tmp, and $DATA/postgres is a link to them.
create_postgres() {
    local home=$DATA/postgres place
    [ ! -e "$home/PG_VERSION" ] || return 0
    rm -rf "$home"
    mkdir -p "$home"
    if [ "$(id -u)" = 0 ]; then
        if ! as_postgres test -x "$DATA"; then
            rmdir "$home"
            place=$(mktemp -d /var/tmp/backendai-postgres.XXXXXX)
            ln -s "$place" "$home"
        fi
        chown "$(postgres_user)" "$home/"
    fi
    chmod 700 "$home/"
    printf '%s\n' "$BACKEND_DB_PASSWORD" >"$home/password"
    [ "$(id -u)" != 0 ] || chown "$(postgres_user)" "$home/password"
    mkdir "$home/cluster"
    [ "$(id -u)" != 0 ] || chown "$(postgres_user)" "$home/cluster"
    as_postgres "$(postgres_bin)/initdb" -D "$(readlink -f "$home")/cluster" -U "$BACKEND_DB_USER" --auth=scram-sha-256 \
        --pwfile="$(readlink -f "$home")/password" --encoding=UTF8 --no-locale >>"$DATA/log/postgres.log" 2>&1 ||
        fail "initdb failed: $(last_words postgres)"
    rm -f "$home/password"
    touch "$home/PG_VERSION"
}

start_postgres() {
    local options
    mapfile -t options < <(postgres_privileges; tied)
    create_postgres
    launch postgres setpriv "${options[@]}" -- "$(postgres_bin)/postgres" -D "$(readlink -f "$DATA/postgres")/cluster" \
        -p "${BACKEND_DB_ADDR#*:}" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c "fsync=${DEV_FSYNC:-on}" \
        -c logging_collector=off -c max_connections=200
}

start_redis() {
    local options
    mapfile -t options < <(tied)
    mkdir -p "$DATA/redis"
    launch redis setpriv "${options[@]}" -- redis-server --bind 127.0.0.1 --port "${BACKEND_REDIS_ADDR#*:}" \
        --dir "$DATA/redis" --appendonly yes --daemonize no
}

start_etcd() {
    local options url=http://$BACKEND_ETCD_ADDR peers=http://127.0.0.1:$DEV_ETCD_PEER_PORT
    mapfile -t options < <(tied)
    # etcd 3.4 wants to be told that arm64 is meant.
    [ "$(uname -m)" != aarch64 ] || export ETCD_UNSUPPORTED_ARCH=arm64
    launch etcd setpriv "${options[@]}" -- etcd --name dev --data-dir "$DATA/etcd" --listen-client-urls "$url" \
        --advertise-client-urls "$url" --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" \
        --initial-cluster "dev=$peers" --logger zap --log-level warn
}

start_gateway() {
    local options
    mapfile -t options < <(tied)
    launch gateway setpriv "${options[@]}" -- "$BIN/backendai-gateway"
}

start_agent() {
    local options
    mapfile -t options < <(tied)
    mkdir -p "$DATA/scratch"
    launch agent setpriv "${options[@]}" -- "$BIN/backendai-agent" --insecure --agent-ip 127.0.0.1 --scratch-root "$DATA/scratch"
}

await_postgres() { await postgres 60 sql -d postgres -c 'SELECT 1'; }
await_redis() { await redis 30 redis-cli -p "${BACKEND_REDIS_ADDR#*:}" ping; }
await_etcd() { await etcd 30 answers_200 "${BACKEND_ETCD_ADDR#*:}" /health; }
await_gateway() { await gateway 60 answers_200 "$BACKEND_ADMIN_PORT" /readyz; }
await_agent() { await agent 60 agent_known; }
