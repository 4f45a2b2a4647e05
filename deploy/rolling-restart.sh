#!/usr/bin/env bash
# Restarts the processes of one namespace one after the other, and only while all of them are well.
#
#   rolling-restart.sh [--restart COMMAND] [--url URL] [--wait SECONDS] [--settle SECONDS] HOST...
#
# {} stands for the host in COMMAND and URL. Defaults: 'ssh {} sudo systemctl restart amends',
# 'http://{}:8480', 120 s for a process to become ready, 5 s in which it must stay so.
#
# Before each restart every host must answer /readyz with 200: a process is ready only when its own
# tasks run and its warm copies are near, so no two are cold at a time. The script stops at the first
# host that does not come back, with exit code 1, and leaves the rest as they are.
set -euo pipefail

restart='ssh {} sudo systemctl restart amends'
url='http://{}:8480'
wait=120
settle=5
hosts=()
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --restart) restart=${2:?} && shift 2 ;;
    --url) url=${2:?} && shift 2 ;;
    --wait) wait=${2:?} && shift 2 ;;
    --settle) settle=${2:?} && shift 2 ;;
    -*) usage ;;
    *) hosts+=("$1") && shift ;;
  esac
done
[ ${#hosts[@]} -gt 0 ] || usage

ready() { # host
  curl --fail --silent --output /dev/null --max-time 3 "${url//\{\}/$1}/readyz"
}

# gate waits until the hosts are ready at the same time, and then for $settle seconds on end.
gate() { # host...
  local since=0 deadline=$((SECONDS + wait)) host
  while :; do
    for host in "$@"; do
      if ! ready "$host"; then
        since=0
        if [ $SECONDS -ge $deadline ]; then
          echo "$host is not ready after $wait s: see ${url//\{\}/$host}/readyz" >&2
          return 1
        fi
        sleep 0.5
        continue 2
      fi
    done
    [ $since -ne 0 ] || since=$((SECONDS + 1))
    [ $SECONDS -lt $((since - 1 + settle)) ] || return 0
    sleep 0.5
  done
}

for host in "${hosts[@]}"; do
  gate "${hosts[@]}" || { echo "nothing more is restarted" >&2; exit 1; }
  echo "$host: restart"
  began=$SECONDS
  # A host name with a space would be a command of its own.
  case $host in *[!A-Za-z0-9.:_-]*) echo "$host: not a host name" >&2; exit 2 ;; esac
  bash -c "${restart//\{\}/$host}"
  gate "$host" || { echo "nothing more is restarted" >&2; exit 1; }
  echo "$host: ready again after $((SECONDS - began)) s"
done
gate "${hosts[@]}"
echo "all ${#hosts[@]} restarted"
