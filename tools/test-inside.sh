#!/usr/bin/env bash
# Runs the tests that run inside a backend. cargo-pgrx builds the extension with its tests in it,
# installs that into a private PostgreSQL of its own and starts it, as root by way of sudo.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

private=$("$ROOT/tools/private-dir.sh")
"$ROOT/tools/private-copy.sh" "$private/inside"
export PGRX_PG_CONFIG_PATH=$private/inside/bin/pg_config
# A home of its own: the one in .tools/ names the system's PostgreSQL.
export PGRX_HOME=$private/pgrx
if ! grep -qsF "\"$PGRX_PG_CONFIG_PATH\"" "$PGRX_HOME/config.toml"; then
    mkdir -p "$PGRX_HOME"
    cargo pgrx init "--$(pg_feature)" "$PGRX_PG_CONFIG_PATH" >&2
fi
# And a target folder: in the common one, each change of pg_config generates the bindings anew.
export CARGO_TARGET_DIR=$TARGET/inside
runas=()
if [ "$(id -u)" = 0 ]; then runas=(--runas postgres); fi
# Only the extension's: the crates have been tested.
cargo pgrx test --package event_source "$(pg_feature)" "${runas[@]}" --pgdata "$private/run/inside"
