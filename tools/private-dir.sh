#!/usr/bin/env bash
# Prints the folder for private servers and their data, made if needed. It is target/private unless
# the user who runs the servers cannot reach that (a checkout under a folder of mode 0700) or its
# name is too long for a Unix socket (107 bytes with what comes behind).
set -euo pipefail
. "$(dirname "$0")/env.sh"

private=$TARGET/private
mkdir -p "$private"
if [ ${#private} -gt 70 ] || ! as_server_user test -x "$private"; then
    private=/var/tmp/event_source-$(printf %s "$TARGET" | sha256sum | cut -c1-12)
    mkdir -p "$private"
    # Others may write in /var/tmp: never run what somebody else put there.
    [ -O "$private" ] && [ ! -L "$private" ] || die "$private belongs to somebody else"
fi
if [ ! -d "$private/run" ]; then
    if [ "$(id -u)" = 0 ]; then
        install -d -o postgres -g postgres "$private/run"
    else
        mkdir -p "$private/run"
    fi
fi
printf '%s\n' "$private"
