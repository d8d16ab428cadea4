#!/usr/bin/env bash
# Gets what the benchmarks are compared with: Debian's packages are unpacked beside the private
# PostgreSQL of the benchmarks, so that nothing is installed on the machine and no service starts;
# Node's come by npm. Quick when they are there; safe to repeat and to interrupt. What this machine's
# distribution does not have is said, and the works go without it.
#   bench/peers.sh DEST
set -euo pipefail
. "$(dirname "$0")/../tools/env.sh"

[ $# = 1 ] || die "usage: bench/peers.sh DEST"
dest=$1
major=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
packages=("postgresql-$major-wal2json" "postgresql-$major-pgq3" nginx libnginx-mod-nchan)

unpack() {
    local package=$1 work
    work=$(mktemp -d)
    # The newest that the machine's lists name; without lists they are fetched once.
    (cd "$work" && { apt-get -qq download "$package" || { apt-get -qq update && apt-get -qq download "$package"; }; }) \
        >&2 2>/dev/null || { rm -rf "$work"; return 1; }
    dpkg-deb -x "$work"/*.deb "$dest"
    rm -rf "$work"
}

for package in "${packages[@]}"; do
    [ ! -e "$dest/peers/$package" ] || continue
    if command -v dpkg-deb >/dev/null && unpack "$package"; then
        mkdir -p "$dest/peers"
        touch "$dest/peers/$package"
    else
        say "no $package on this machine: what it is compared with is left out"
    fi
done
chmod -R a+rX "$dest"

node=$ROOT/bench/clients/node
if [ ! "$node/node_modules" -nt "$node/package-lock.json" ]; then
    (cd "$node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 && touch node_modules)
fi
