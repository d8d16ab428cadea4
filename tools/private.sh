#!/usr/bin/env bash
# Builds and installs everything that the tests run: the build that users get and the build with negative controls,
# each in a private PostgreSQL of its own, in the profile PROFILE (tests).
set -euo pipefail
. "$(dirname "$0")/env.sh"

export PROFILE=${PROFILE:-tests}
private=$("$ROOT/tools/private-dir.sh")
"$ROOT/tools/install-private.sh" "$private/release"
"$ROOT/tools/install-private.sh" --features controls "$private/controls"
