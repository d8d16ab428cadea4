#!/usr/bin/env bash
# Installs the extension into a private copy of PostgreSQL in DEST, so that neither tests nor demo
# write into /usr and two checkouts do not fight over one folder.
#   tools/install-private.sh [--features controls] DEST
set -euo pipefail
. "$(dirname "$0")/env.sh"

features=()
if [ "${1:-}" = --features ]; then features=("$1" "$2"); shift 2; fi
[ $# = 1 ] || die "usage: tools/install-private.sh [--features LIST] DEST"
dest=$1

tree=$("$ROOT/tools/package.sh" "${features[@]}")
"$ROOT/tools/private-copy.sh" "$dest"
cp -R --remove-destination "$tree/." "$dest"
chmod -R a+rX "$dest"
