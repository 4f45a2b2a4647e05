#!/usr/bin/env bash
# Runs a command with REGISTRY_URL pointing at a real Apicurio Registry (Confluent's interface), in memory, on loopback.
# REGISTRY_URL set: that one is used. Otherwise one is started for the command and stopped after it.
#
#   REGISTRY_PORT=9081   its port; the next one is its management port.
#   REGISTRY_JAVA=java   a Java of version 21 or newer; JAVA_HOME/bin/java and those under /usr/lib/jvm are looked at too.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
port=${REGISTRY_PORT:-9081}
version=$(sed -n 's:.*<version>\(3[0-9.]*\)</version>.*:\1:p' "$here/pom.xml")
home="$root/.kafka/apicurio-$version"

die() { echo "with-registry.sh: $*" >&2; exit 1; }

java21() {
  local j v
  for j in "${REGISTRY_JAVA:-}" "${JAVA_HOME:-}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [ -x "$j" ] || continue
    v=$("$j" -version 2>&1 | sed -n '1s/.*"\([0-9]*\).*/\1/p')
    if [ "${v:-0}" -ge 21 ]; then echo "$j"; return; fi
  done
  return 1
}

if [ -z "${REGISTRY_URL:-}" ]; then
  java=$(java21) || die "no Java of version 21 or newer: set REGISTRY_JAVA"
  if [ ! -f "$home/quarkus-run.jar" ]; then
    command -v mvn >/dev/null || die "mvn is missing: install Maven"
    echo "resolving Apicurio Registry $version with Maven (once)" >&2
    mkdir -p "$home"
    mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home" >&2
    tar xzf "$home"/apicurio-registry-app-*.tar.gz -C "$home"
    rm "$home"/apicurio-registry-app-*.tar.gz
  fi
  "$java" -Xmx384m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" -Dquarkus.management.host=127.0.0.1 \
    -Dquarkus.management.port=$((port + 1)) -jar "$home/quarkus-run.jar" >"$home/log-$port" 2>&1 &
  registry=$!
  trap 'kill "$registry" 2>/dev/null || true; wait "$registry" 2>/dev/null || true' EXIT
  trap 'exit 130' INT TERM
  export REGISTRY_URL="http://127.0.0.1:$port/apis/ccompat/v7"
  for _ in $(seq 120); do
    if curl -fs "$REGISTRY_URL/subjects" >/dev/null 2>&1; then break; fi
    kill -0 "$registry" 2>/dev/null || { tail -20 "$home/log-$port" >&2; die "the registry ended"; }
    sleep 1
  done
  echo "REGISTRY_URL=$REGISTRY_URL"
fi
"$@"
