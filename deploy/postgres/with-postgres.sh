#!/usr/bin/env bash
# Runs a command with PG_DSN pointing at a real PostgreSQL.
# PG_DSN set: that server is used. Ours already runs: it is used and left running.
# Otherwise one is started for the command and stopped after it, however the command ends.
set -euo pipefail
postgres="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/postgres.sh"

if [ -z "${PG_DSN:-}" ]; then
  if ! "$postgres" status >/dev/null; then
    trap '"$postgres" down' EXIT
    # Signals are handled between commands only, so the command runs in the background and is waited for.
    trap 'kill "${child:-}" 2>/dev/null || true; exit 130' INT TERM
  fi
  line=$("$postgres" up)
  echo "$line"
  export "${line?}"
fi
"$@" &
child=$!
wait "$child"
