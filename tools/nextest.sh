#!/usr/bin/env bash
# Makes sure that cargo-nextest is there: the machine's own, or one in .tools/. It runs the tests side
# by side, in groups, each in a process of its own, which cargo's own runner cannot.
set -euo pipefail
. "$(dirname "$0")/env.sh"

cargo nextest --version >/dev/null 2>&1 && exit 0
say "building cargo-nextest $NEXTEST_VERSION (some minutes, once)"
# Unoptimized, as cargo-pgrx: it starts programs and waits for them.
env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=false cargo install cargo-nextest --version "=$NEXTEST_VERSION" \
    --locked --quiet --debug --root "$TOOLS" >&2
