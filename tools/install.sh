#!/usr/bin/env bash
# Installs the package into the PostgreSQL that PG_CONFIG names (default: the one on the PATH).
# DESTDIR is honoured. Files are replaced, not rewritten: a running server has the old ones mapped.
set -euo pipefail
PG_CONFIG=${PG_CONFIG:-$(command -v pg_config || true)}
. "$(dirname "$0")/env.sh"

tree=$("$ROOT/tools/package.sh")
mkdir -p "${DESTDIR:-/}"
cp -R --remove-destination "$tree/." "${DESTDIR:-/}"
say "installed into $("$PG_CONFIG" --pkglibdir) and $("$PG_CONFIG" --sharedir)/extension;" \
    "next: add event_source to shared_preload_libraries and restart"
