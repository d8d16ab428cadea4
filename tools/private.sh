#!/usr/bin/env bash
# Builds and installs everything that the tests from outside run: the release build and the build
# with negative controls, each in a private PostgreSQL of its own.
set -euo pipefail
. "$(dirname "$0")/env.sh"

private=$("$ROOT/tools/private-dir.sh")
"$ROOT/tools/install-private.sh" "$private/release"
"$ROOT/tools/install-private.sh" --features controls "$private/controls"
