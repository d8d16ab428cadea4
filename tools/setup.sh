#!/usr/bin/env bash
# Prepares a machine to build and test: PostgreSQL 15 with headers (another with PG=17), cargo-pgrx in
# .tools/, and the drivers that the tests run. As root on Debian it installs missing packages;
# elsewhere it says what is missing. Quick when nothing is; safe to repeat and to interrupt.
set -euo pipefail
. "$(dirname "$0")/env.sh"

missing_packages() {
    local package
    for package in pkg-config clang libclang-dev sudo rsync; do
        dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' || echo $package
    done
    command -v cc >/dev/null || echo build-essential
    command -v curl >/dev/null || echo curl
    command -v node >/dev/null || echo nodejs
    command -v npm >/dev/null || echo npm
    command -v chromium >/dev/null || echo chromium
    python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    # What a build from source needs on top.
    if [ -n "${PG:-}" ]; then
        for package in bison flex libicu-dev liblz4-dev libxml2-dev zlib1g-dev; do
            dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' || echo $package
        done
        id -u postgres >/dev/null 2>&1 || echo postgresql-common
    # A PG_CONFIG of the caller's choice brings its own server and headers.
    elif [ "$PG_CONFIG" = "" ] || [ "$PG_CONFIG" = $debian_pg_config ]; then
        [ -x /usr/lib/postgresql/15/bin/initdb ] || echo postgresql-15
        [ -e /usr/include/postgresql/15/server/postgres.h ] || echo postgresql-server-dev-15
    fi
}

install_packages() {
    command -v dpkg-query >/dev/null || { check_commands; return; }
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "as root: apt-get install ${packages[*]}"
    say "installing ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
}

# Not Debian: its packages have other names, so only look.
check_commands() {
    local command
    for command in cc clang pkg-config rsync curl node npm chromium python3 "${PG_CONFIG:-pg_config}"; do
        command -v "$command" >/dev/null || die "$command is missing"
    done
}

install_pgrx() {
    if [ "$(cargo pgrx --version 2>/dev/null)" != "cargo-pgrx $PGRX_VERSION" ]; then
        say "building cargo-pgrx $PGRX_VERSION (some minutes, once)"
        # Unoptimized: it copies files and starts cargo, as fast so, and is built in half of the time.
        env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=false cargo install cargo-pgrx --version "=$PGRX_VERSION" \
            --locked --quiet --debug --root "$TOOLS" >&2
    fi
    # Only tells pgrx where the headers are; its own servers are not used.
    if ! grep -qsF "\"$PG_CONFIG\"" "$PGRX_HOME/config.toml"; then
        mkdir -p "$PGRX_HOME"
        cargo pgrx init "--$(pg_feature)" "$PG_CONFIG" >&2
    fi
}

# Runs an installation again only when its list or the place of the checkout changed: a virtual
# environment does not survive a move.
once() {
    local list=$1 mark=$2; shift 2
    local want; want=$(printf '%s\n' "$ROOT"; cat "$list")
    [ "$(cat "$mark" 2>/dev/null)" != "$want" ] || return 0
    say "installing what $(realpath --relative-to "$ROOT" "$list") lists"
    "$@"
    printf '%s\n' "$want" > "$mark"
}

install_node_driver() {
    cd "$ROOT/tests/clients/node"
    # faunadb's script after its installation only asks the network for a newer version, and fails without.
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
}

install_python_driver() {
    cd "$ROOT/tests/clients/python"
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt >&2
}

install_packages
if [ -n "${PG:-}" ]; then "$ROOT/tools/postgres.sh" "$PG"; fi
# It may have come just now.
. "$ROOT/tools/env.sh"
install_pgrx
"$ROOT/tools/private-dir.sh" >/dev/null
clients=$ROOT/tests/clients
(once "$clients/node/package.json" "$clients/node/node_modules/.installed" install_node_driver)
(once "$clients/python/requirements.txt" "$clients/python/.venv/.installed" install_python_driver)
