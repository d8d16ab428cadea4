#!/usr/bin/env bash
# Counts instructions per event of capture, of reading the log and of rendering, by callgrind, and
# compares them with those recorded in bench/guard.json. Nothing is timed: what else the machine does
# changes no count.
#
#   bench/guard.sh                       compares
#   RECORD=1 bench/guard.sh              records anew
#   bench/guard.sh annotate              which parts the last run has kept
#   bench/guard.sh annotate PART ..      its functions; options of callgrind_annotate: --inclusive=yes
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/env.sh
private=$(tools/private-dir.sh)

if [ "${1:-}" = annotate ]; then
    [ -n "${2:-}" ] || exec ls --ignore='callgrind*' "$private/guard"
    # What began the program has the whole part as its own cost, and would be all that a threshold lets through.
    exec callgrind_annotate --auto=no --threshold=100 "${@:3}" "$private/guard/$2"
fi
if ! command -v valgrind >/dev/null; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || die "valgrind is missing"
    say "installing valgrind"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >&2
fi
tools/install-private.sh "$private/release"
# As users get it, with all optimization.
cargo build --quiet --release -p event_source_wire --example render
record=()
if [ -n "${RECORD:-}" ] && [ "$RECORD" != 0 ]; then record=(--record); fi
exec cargo run --quiet --profile bench -p event_source_bench --bin guard -- \
    "$TARGET/release/examples/render" "${record[@]}"
