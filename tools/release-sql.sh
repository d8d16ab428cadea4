#!/usr/bin/env bash
# Keeps the SQL of the version that is about to be released: its install script goes to sql/released,
# its checksum and those of the scripts that update to it into sql/released/sha256. Once for each version.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

version=$(cargo pkgid -p event_source | sed 's/.*[#@]//')
released=sql/released/event_source--$version.sql
[ ! -e "$released" ] || die "$released is there: a released script is never edited, raise the version"
# Each version but the first has a way to it.
if [ -s sql/released/sha256 ]; then
    [ -n "$(find sql -maxdepth 1 -name "event_source--*--$version.sql")" ] ||
        die "no script updates to $version: write sql/event_source--OLD--$version.sql"
fi
tree=$("$ROOT/tools/package.sh")
cp "$tree$("$PG_CONFIG" --sharedir)/extension/event_source--$version.sql" "$released"
find "$released" sql -maxdepth 1 \( -path "$released" -o -name "event_source--*--$version.sql" \) -print0 |
    sort -z | xargs -0 sha256sum >> sql/released/sha256
say "wrote $released; commit it and sql/released/sha256, then tag v$version"
