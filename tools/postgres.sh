#!/usr/bin/env bash
# Builds PostgreSQL of another major version, with assertions, into .tools/postgresql-MAJOR. No
# distribution ships a server with assertions, and without them a wrong call passes unseen.
# The source is Debian's: apt checks its signature, tools/postgres.sha256 pins its bytes. Nothing is
# installed on the machine. Quick when it is there; safe to repeat and to interrupt.
#   tools/postgres.sh MAJOR
set -euo pipefail
. "$(dirname "$0")/env.sh"

[ $# = 1 ] || die "usage: tools/postgres.sh MAJOR"
major=$1
# The suite whose source package it is; other majors are in none.
case $major in
    15) suite=bookworm ;;
    17) suite=trixie ;;
    18) suite=forky ;;
    *) die "PostgreSQL $major is in no suite of Debian: 15, 17 and 18 are" ;;
esac
prefix=$TOOLS/postgresql-$major
work=$TOOLS/source-$major
pins=$ROOT/tools/postgres.sha256
configure=(--enable-cassert --enable-debug --without-readline --with-icu --with-libxml --with-lz4)

# What an installation depends on: a new pin or another option builds it anew.
wanted=$(printf '%s\n' "${configure[*]}"; grep " postgresql-${major}_" "$pins" || true)
[ "$(cat "$prefix/built-from" 2>/dev/null)" != "$wanted" ] || exit 0

# An apt of our own: the machine's has another suite and usually no sources. The mirror is the
# machine's, and so are its keys.
fetch() {
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$') ||
        die "no Debian mirror is configured: tools/postgres.sh takes the source from there"
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/download"
    printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$mirror" "$suite" > "$work/apt/sources.list"
    local apt=(apt-get -qq -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$work/download" && "${apt[@]}" source --download-only "postgresql-$major")
}

# The pinned tarball, or an end that says what the suite has instead.
verified() {
    local tarball
    tarball=$(find "$work/download" -name "postgresql-${major}_*.orig.tar.*" ! -name '*.asc' | sort -V | tail -n 1)
    [ -n "$tarball" ] || die "the source package of PostgreSQL $major has no upstream tarball"
    local pin
    pin=$(cd "$work/download" && sha256sum "$(basename "$tarball")")
    grep -qxF "$pin" "$pins" ||
        die "not pinned in tools/postgres.sha256 (a new minor version is pinned once it was looked at): $pin"
    printf '%s\n' "$tarball"
}

# Programs find their libraries relative to themselves, so that a copy of the whole runs anywhere.
build() {
    local tarball=$1 source=$work/source
    rm -rf "$source" "$prefix"
    mkdir -p "$source"
    tar -xf "$tarball" -C "$source" --strip-components=1
    cd "$source"
    ./configure --quiet --prefix="$prefix" "${configure[@]}" CFLAGS=-O1
    # Make reads $$ as $, and the shell below it has it in quotes.
    # shellcheck disable=SC2016
    local relative='rpathdir=$$ORIGIN/../lib'
    make --silent -j"$(nproc)" "$relative" install
    make --silent -j"$(nproc)" "$relative" -C contrib install
}

say "building PostgreSQL $major with assertions (some minutes, once)"
fetch
tarball=$(verified)
trap '[ $? = 0 ] || { tail -n 20 "$work/build.log"; say "error: see $work/build.log"; } >&2' EXIT
build "$tarball" > "$work/build.log" 2>&1
printf '%s\n' "$wanted" > "$prefix/built-from"
rm -rf "$work"
