#!/usr/bin/env bash
# Makes a private copy of the installed PostgreSQL in DEST, unless it is there already. PostgreSQL
# finds its files relative to its programs, so a copy runs from anywhere.
#   tools/private-copy.sh DEST
set -euo pipefail
. "$(dirname "$0")/env.sh"

[ $# = 1 ] || die "usage: tools/private-copy.sh DEST"
dest=$1
version=$("$PG_CONFIG" --version)
[ "$(cat "$dest/version" 2>/dev/null)" != "$version" ] || exit 0

rm -rf "$dest"
for folder in bindir pkglibdir sharedir includedir-server; do
    from=$("$PG_CONFIG" --$folder)
    mkdir -p "$dest$from"
    cp -R "$from/." "$dest$from"
done
# What the system's own PostgreSQL has installed of us is not what we are to test.
rm -f "$dest$("$PG_CONFIG" --pkglibdir)"/event_source* \
    "$dest$("$PG_CONFIG" --sharedir)"/extension/event_source*
# One name for the programs, whatever the layout: pg_config and postgres follow the link.
ln -s ".$("$PG_CONFIG" --bindir)" "$dest/bin"
chmod -R a+rX "$dest"
printf '%s\n' "$version" > "$dest/version"
