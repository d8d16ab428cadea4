#!/usr/bin/env bash
# Installs the extension into a private copy of PostgreSQL in DEST, so that neither tests nor demo
# write into /usr and two checkouts do not fight over one folder. Quick when no source is newer: cargo builds the
# library anew each time its features change, since both builds have one file name.
#   tools/install-private.sh [--features controls] DEST
set -euo pipefail
. "$(dirname "$0")/env.sh"

features=()
if [ "${1:-}" = --features ]; then features=("$1" "$2"); shift 2; fi
[ $# = 1 ] || die "usage: tools/install-private.sh [--features LIST] DEST"
dest=$1
profile=${PROFILE:-release}
installed=$dest/installed
wanted=$("$PG_CONFIG" --version; printf '%s\n' "$ROOT" "$profile" "${features[@]}")

# The sources are those that cargo has written down, and what says how they are built.
is_current() {
    [ "$(cat "$installed" 2>/dev/null)" = "$wanted" ] || return 1
    local sources=(Cargo.toml Cargo.lock event_source.control crates/*/Cargo.toml tools) list
    for list in "$TARGET/$profile"/{libevent_source,event_source_server}.d; do
        read -ra list < <(sed 's/^[^:]*://' "$list") || return 1
        sources+=("${list[@]}")
    done
    [ -z "$(find "${sources[@]}" -newer "$installed" -print -quit || echo missing)" ]
}

cd "$ROOT"
if is_current; then exit 0; fi
begun=$(mktemp)
trap 'rm -f "$begun"' EXIT
tree=$("$ROOT/tools/package.sh" "${features[@]}")
"$ROOT/tools/private-copy.sh" "$dest"
# Files that are the same stay: what depends on them (templates of clusters) is not made anew. Others are replaced,
# not rewritten: a running server has the old ones mapped.
rsync --recursive --links --perms --checksum "$tree/" "$dest/"
chmod -R a+rX "$dest"
printf '%s\n' "$wanted" > "$installed"
# A source that was written meanwhile is newer.
touch -r "$begun" "$installed"
