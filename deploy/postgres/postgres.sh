#!/usr/bin/env bash
# A real PostgreSQL for tests: Debian's, loopback only, small, data thrown away.
#
#   postgres.sh up       start it (does nothing when it already runs) and print PG_DSN=...
#   postgres.sh down     stop exactly what up started
#   postgres.sh status   say what runs; exit 1 when nothing does
#
#   PG_PORT=15432  its port (not 5432, where Debian starts a server of its own). Everybody on this machine may log in, as user amends to database amends.
#
# Needs Debian's package postgresql (any version), or a PG_BIN that names the folder of its programs. The
# server refuses to run as root, so root runs it as user postgres, which the package makes. All files live in
# .postgres/, or in a folder of /tmp where that user cannot reach them there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
base="$root/.postgres"
port=${PG_PORT:-15432}
cluster="$base/cluster-$port"

die() { echo "postgres.sh: $*" >&2; exit 1; }

programs() { # prints the folder with initdb and postgres
  local d
  if [ -n "${PG_BIN:-}" ]; then echo "$PG_BIN"; return; fi
  for d in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr); do
    [ -x "$d/initdb" ] && [ -x "$d/postgres" ] && { echo "$d"; return; }
  done
  if command -v initdb >/dev/null && command -v postgres >/dev/null; then dirname "$(command -v initdb)"; return; fi
  die "PostgreSQL is missing: install it (Debian: apt-get install postgresql), or name its folder with PG_BIN"
}

# as: runs a command as a user that the server accepts, in a folder that this user may see.
as() {
  if [ "$(id -u)" != 0 ]; then (cd / && exec "$@"); return; fi
  id postgres >/dev/null 2>&1 || die "as root this needs the user postgres, which Debian's package makes"
  (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$@")
}

dsn() { echo "PG_DSN=postgres://amends@127.0.0.1:$port/amends?sslmode=disable"; }

data() { cat "$cluster/data" 2>/dev/null; }

# A pid counts only while it is the process that we started: pids are reused.
alive() {
  local pid d
  d=$(data) && pid=$(cat "$cluster/pid" 2>/dev/null) || return 1
  ps -p "$pid" -o command= 2>/dev/null | grep -qF -- "-D $d"
}

up() {
  local bin d i
  if alive; then dsn; return; fi
  bin=$(programs)
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    die "port $port is taken by something else: choose another with PG_PORT"
  fi
  down >/dev/null
  mkdir -p "$cluster"
  d="$cluster/db"
  mkdir "$d"
  if [ "$(id -u)" = 0 ]; then
    chown postgres "$d" 2>/dev/null || die "as root this needs the user postgres, which Debian's package makes"
    as test -r "$d" || { d=$(mktemp -d /tmp/amends-postgres-XXXXXX); chown postgres "$d"; }
  fi
  chmod 700 "$d"
  echo "$d" >"$cluster/data"
  as "$bin/initdb" -D "$d" -U amends -A trust -E UTF8 --locale=C -N >"$cluster/log" 2>&1 ||
    { cat "$cluster/log" >&2; die "initdb failed"; }
  # No socket file, whose path would have to be short. Nothing survives the machine, so nothing waits for the disk.
  # A session of its own, where the system has setsid: an interrupt in this terminal must not stop the server half-way.
  as $(command -v setsid || true) "$bin/postgres" -D "$d" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=64MB -c max_connections=200 \
    -c log_min_messages=warning </dev/null >>"$cluster/log" 2>&1 &
  local deadline=$((SECONDS + 60))
  until [ -s "$d/postmaster.pid" ] && "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
    if [ $SECONDS -ge $deadline ] || ! kill -0 $! 2>/dev/null; then
      tail -n 40 "$cluster/log" >&2
      head -n 1 "$d/postmaster.pid" >"$cluster/pid" 2>/dev/null || true
      down >&2
      die "the server does not serve (its log is above)"
    fi
    sleep 0.1
  done
  head -n 1 "$d/postmaster.pid" >"$cluster/pid"
  "$bin/createdb" -h 127.0.0.1 -p "$port" -U amends amends
  dsn
}

down() {
  local d i pid found=0
  if alive; then
    found=1
    pid=$(cat "$cluster/pid")
    kill -INT "$pid" 2>/dev/null || true # fast: sessions are ended
    for ((i = 0; i < 100; i++)); do
      alive || break
      sleep 0.1
    done
    if alive; then kill -QUIT "$pid" 2>/dev/null || true; fi
  fi
  d=$(data) || d=
  case "$d" in
  "$cluster"/* | /tmp/amends-postgres-*) rm -rf "$d" ;;
  esac
  rm -rf "$cluster"
  if [ $found = 1 ]; then echo "PostgreSQL on port $port is stopped"; else echo "no PostgreSQL of ours runs on port $port"; fi
}

status() {
  alive || { echo "no PostgreSQL of ours runs on port $port"; exit 1; }
  echo "PostgreSQL, log in $cluster/log"
  dsn
}

case "${1:-}" in
up | down | status) "$1" ;;
*) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
