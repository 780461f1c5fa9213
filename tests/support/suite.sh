# shellcheck shell=bash
# ./dev test: every test, bounded in time, on every engine that the machine allows.

# Whether the kernel and the container's profile let this process use io_uring (425 on every architecture).
io_uring_allowed() {
    python3 -c '
import ctypes, sys
descriptor = ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(120))
sys.exit(0 if descriptor >= 0 else 1)'
}

engines() {
    if io_uring_allowed; then
        echo io-uring epoll
    else
        warn "THIS MACHINE REFUSES io_uring: ONLY THE epoll ENGINE IS TESTED"
        echo epoll
    fi
}

# stage SECONDS TITLE COMMAND...: runs one part, shows its output and adds it to LOG; a failure is noted in FAILED.
# The command runs in the background, so that a Ctrl-C ends it at once (timeout passes the signal on to its group).
stage() {
    local limit=$1 title=$2 status=0 output job
    shift 2
    say "== $title"
    output=$(mktemp)
    timeout --kill-after=30 "$limit" "$@" >"$output" 2>&1 </dev/null &
    job=$!
    # shellcheck disable=SC2064  # this job, not a later one
    trap "kill $job; exit 130" INT TERM HUP
    tail --pid="$job" --sleep-interval=0.2 -n +1 -f "$output" &
    wait "$job" || status=$?
    wait $! || true
    trap - INT TERM HUP
    cat "$output" >>"$LOG"
    rm -f "$output"
    [ "$status" = 0 ] && return
    [ "$status" != 124 ] || warn "$title took longer than $limit s"
    FAILED+=("$title")
}

# "PASSED FAILED" over cargo's and pytest's closing lines in a log.
totals() {
    sed -e 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /^test result: |^=+ .*(passed|failed|error).* =+$/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^(failed|errors?)[;,]?$/) failed += $(i - 1)
            }
        }
        END { printf "%d %d\n", passed, failed }'
}

# Builds the programs and the Python environments, and exports what the tests read.
prepare_suite() {
    DEV_PROFILE=${DEV_PROFILE:-dev}
    CARGO_TARGET_DIR=$(target_dir)
    build_programs
    DEV_BIN=$BIN
    BACKEND_TEST_PYTHON=$(python_environment tests python3 "$ROOT/tests/requirements.txt")/bin/python
    browser_environment
    CLIENT_RELEASES=$(client_releases) || fail "the Python clients could not be installed"
    CLIENT_OF_2017=$(client_of_2017) || fail "the Python client of 2017 could not be installed"
    export CARGO_TARGET_DIR DEV_BIN BACKEND_TEST_PYTHON CLIENT_RELEASES CLIENT_OF_2017
}

run_suite() {
    local python=$BACKEND_TEST_PYTHON engine counts
    FAILED=()
    LOG=$(mktemp)
    cd "$ROOT" || return
    export BACKEND_ENGINE
    # What depends on the engine runs on both by itself.
    stage 1500 "cargo test" cargo test --workspace --no-fail-fast
    stage 300 "cargo test (2 GiB in little memory)" cargo test -p backendai --lib -- --ignored
    for BACKEND_ENGINE in $(engines); do
        engine=$BACKEND_ENGINE
        stage 600 "released clients ($engine)" "$python" -m pytest -n 2 tests/sdk
        # They wait more than they work: each process has a cluster of its own. Beside each other on a small machine
        # one may wait too short; it is run once more then, and named at the end.
        stage 1800 "end to end ($engine)" "$python" -m pytest -n 3 --dist loadfile --reruns 1 -rfER tests/e2e
    done
    counts=$(totals "$LOG")
    rm -f "$LOG"
    if [ "${#FAILED[@]}" = 0 ]; then
        say "${counts% *} passed, ${counts#* } failed"
        return
    fi
    warn "failed: $(printf '%s; ' "${FAILED[@]}")"
    # A part that was broken off has no closing line: it counts as one.
    [ "${counts#* }" != 0 ] || counts="${counts% *} ${#FAILED[@]}"
    say "${counts% *} passed, ${counts#* } failed"
    return 1
}
