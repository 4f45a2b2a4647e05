#!/usr/bin/env bash
# Runs a command with KAFKA_SEEDS pointing at a real Kafka.
# KAFKA_SEEDS set: that cluster is used. Ours already runs: it is used and left running.
# Otherwise one is started for the command and stopped after it, however the command ends.
set -euo pipefail
kafka="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/kafka.sh"

if [ -z "${KAFKA_SEEDS:-}" ]; then
  if ! "$kafka" status >/dev/null; then
    trap '"$kafka" down' EXIT
    # Signals are handled between commands only, so the command runs in the background and is waited for.
    trap 'kill "${child:-}" 2>/dev/null || true; exit 130' INT TERM
  fi
  line=$("$kafka" up)
  echo "$line"
  export "${line?}"
fi
"$@" &
child=$!
wait "$child"
