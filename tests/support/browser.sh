# shellcheck shell=bash
# The browser of the tests, and the packages that drive it: made once and kept in the user's cache.

# A Chromium of this machine. Ubuntu's command of that name may only say that there is a snap.
chromium_program() {
    local candidate
    for candidate in "${CHROMIUM-}" chromium chromium-browser google-chrome; do
        if [ -n "$candidate" ] && have "$candidate" && "$candidate" --version >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Prints the folder with the packages of tests/browser/package-lock.json; makes it where there is none, or where the
# file has changed.
browser_modules() {
    local place log stamp=$ROOT/tests/browser/package-lock.json
    place=$(cache_dir)/browser
    if ! cmp -s "$stamp" "$place/made-from"; then
        say "installing the packages of the browser's tests" >&2
        rm -rf "$place"
        mkdir -p "$place"
        cp "$ROOT/tests/browser/package.json" "$stamp" "$place"
        log=$(mktemp)
        if ! (cd "$place" && timeout 300 npm ci --no-audit --no-fund --ignore-scripts) >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -rf "$log" "$place"
            fail "the packages of the browser's tests could not be installed"
        fi
        rm -f "$log"
        cp "$stamp" "$place/made-from"
    fi
    printf '%s\n' "$place/node_modules"
}

# Exports what tests/browser/drive.mjs reads. Where the distribution has no Chromium of its own, playwright-core
# fetches one into the cache.
browser_environment() {
    NODE_MODULES=$(browser_modules) || exit 1
    PLAYWRIGHT_BROWSERS_PATH=$(cache_dir)/browsers
    export NODE_MODULES PLAYWRIGHT_BROWSERS_PATH CHROMIUM
    if ! CHROMIUM=$(chromium_program); then
        as_root env PLAYWRIGHT_BROWSERS_PATH="$PLAYWRIGHT_BROWSERS_PATH" \
            node "$NODE_MODULES/playwright-core/cli.js" install --with-deps chromium-headless-shell >&2 ||
            fail "no Chromium: neither this machine's packages nor playwright-core brought one"
    fi
}
