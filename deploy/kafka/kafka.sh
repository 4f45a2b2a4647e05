#!/usr/bin/env bash
# A real Apache Kafka for tests: KRaft, loopback only, small, data thrown away.
#
#   kafka.sh up       start it (does nothing when it already runs) and print KAFKA_SEEDS=...
#   kafka.sh down     stop exactly what up started
#   kafka.sh status   say what runs; exit 1 when nothing does
#
#   KAFKA_PORT=9092   port of the first broker. NODES=n uses 2n ports: brokers first, then controllers.
#   NODES=1           1 broker, or 3 combined broker-controllers (replication 3, min ISR 2).
#   KAFKA_HEAP=512m   heap of each node.
#   KAFKA_JAVA=...    options of each node's JVM. Without: a compiler and a collector that cost little in
#                     the first minutes (40 % less processor time over a test suite). To measure
#                     throughput set it to nothing: the JVM then chooses what is fastest when warm.
#
# Needs JDK 17 or newer and Maven. pom.xml pins the version; the jars and all files live in .kafka/.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
base="$root/.kafka"
port=${KAFKA_PORT:-9092}
nodes=${NODES:-1}
heap=${KAFKA_HEAP:-512m}
java_options=${KAFKA_JAVA--XX:TieredStopAtLevel=1 -XX:+UseSerialGC}
version=$(sed -n '/kafka_2.13/,/version/s:.*<version>\(.*\)</version>.*:\1:p' "$here/pom.xml")
libs="$base/libs-$version"
cluster="$base/cluster-$port"

die() { echo "kafka.sh: $*" >&2; exit 1; }

# A pid counts only while it is the process that we started: pids are reused.
alive() { # node directory
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) || return 1
  ps -p "$pid" -o command= 2>/dev/null | grep -qF "$1/server.properties"
}

running() { # prints the node directories that run
  local d
  for d in "$cluster"/node-*/; do
    d=${d%/}
    [ -d "$d" ] && alive "$d" && echo "$d"
  done
  return 0
}

seeds() { # number of nodes
  local i s=""
  for ((i = 0; i < $1; i++)); do s="$s,127.0.0.1:$((port + i))"; done
  echo "${s#,}"
}

jars() {
  [ -f "$libs/.complete" ] && return
  command -v java >/dev/null || die "java is missing: install a JDK, 17 or newer (Debian: apt-get install openjdk-17-jdk-headless)"
  command -v mvn >/dev/null || die "mvn is missing: install Maven (Debian: apt-get install maven)"
  echo "resolving Apache Kafka $version with Maven (once)" >&2
  rm -rf "$libs"
  mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs" >&2 ||
    die "Maven could not resolve Apache Kafka $version"
  touch "$libs/.complete"
}

# Controllers log in to one another: nobody else is let in before the access rules are read,
# and they must speak before that.
properties() { # node id, directory
  local i voters="" rf=1 isr=1
  for ((i = 1; i <= nodes; i++)); do voters="$voters,$i@127.0.0.1:$((port + nodes + i - 1))"; done
  if [ "$nodes" -ge 3 ]; then rf=3 isr=2; fi
  cat <<PROPERTIES
process.roles=broker,controller
node.id=$1
listeners=PLAINTEXT://127.0.0.1:$((port + $1 - 1)),CONTROLLER://127.0.0.1:$((port + nodes + $1 - 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$((port + $1 - 1))
controller.listener.names=CONTROLLER
controller.quorum.voters=${voters#,}
log.dirs=$2/data
auto.create.topics.enable=false
default.replication.factor=$rf
min.insync.replicas=$isr
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$rf
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=$rf
transaction.state.log.min.isr=$isr
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=$rf
share.coordinator.state.topic.min.isr=$isr
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:node
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="node" password="node" user_node="node";
num.io.threads=4
num.network.threads=2
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

start() { # node id, cluster id
  local d="$cluster/node-$1"
  mkdir -p "$d"
  properties "$1" "$d" >"$d/server.properties"
  java -Xmx128m -cp "$libs/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    kafka.tools.StorageTool format -t "$2" -c "$d/server.properties" >"$d/format.log" 2>&1 ||
    { cat "$d/format.log" >&2; die "formatting node $1 failed"; }
  # A session of its own, where the system has setsid: an interrupt in this terminal must not stop the broker half-way.
  # shellcheck disable=SC2086 # a list of words
  $(command -v setsid || true) java "-Xmx$heap" "-Xms${heap}" $java_options -cp "$libs/*" \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=info -Dorg.slf4j.simpleLogger.showDateTime=true \
    -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
    kafka.Kafka "$d/server.properties" </dev/null >"$d/log" 2>&1 &
  echo $! >"$d/pid"
}

serves() { # node id: it said that it started, and its port answers
  grep -q 'Kafka Server started' "$cluster/node-$1/log" 2>/dev/null &&
    (exec 3<>"/dev/tcp/127.0.0.1/$((port + $1 - 1))") 2>/dev/null
}

up() {
  local have i id deadline=$((SECONDS + 90))
  have=$(running | wc -l)
  if [ "$have" -eq 0 ]; then
    jars
    for ((i = 0; i < 2 * nodes; i++)); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$((port + i))") 2>/dev/null; then
        die "port $((port + i)) is taken by something else: choose another with KAFKA_PORT"
      fi
    done
    rm -rf "$cluster"
    mkdir -p "$cluster"
    id=a$(head -c 32 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 20)A # 22 characters of base64: a UUID
    for ((i = 1; i <= nodes; i++)); do start "$i" "$id"; done
  elif [ "$have" -ne "$nodes" ]; then
    die "a cluster of other size ($have running, $nodes wanted) holds port $port: make kafka-down first"
  fi
  for ((i = 1; i <= nodes; i++)); do
    until serves "$i"; do
      if ! alive "$cluster/node-$i"; then
        tail -n 40 "$cluster/node-$i/log" >&2
        down >&2
        die "node $i ended while starting (its log is above)"
      fi
      if [ $SECONDS -ge $deadline ]; then
        tail -n 40 "$cluster/node-$i/log" >&2
        down >&2
        die "node $i does not serve after 90 s (its log is above)"
      fi
      sleep 0.1
    done
  done
  echo "KAFKA_SEEDS=$(seeds "$nodes")"
}

down() {
  local d i found=0
  for d in $(running); do
    found=1
    kill "$(cat "$d/pid")" 2>/dev/null || true
  done
  # Combined controllers wait for a quorum when they stop together, so patience is short: the data is thrown away.
  for d in $(running); do
    for ((i = 0; i < 50; i++)); do
      alive "$d" || break
      sleep 0.1
    done
    if alive "$d"; then kill -9 "$(cat "$d/pid")" 2>/dev/null || true; fi
  done
  rm -rf "$cluster"
  if [ $found = 1 ]; then echo "Kafka on port $port is stopped"; else echo "no Kafka of ours runs on port $port"; fi
}

status() {
  local have
  have=$(running | wc -l)
  [ "$have" -gt 0 ] || { echo "no Kafka of ours runs on port $port"; exit 1; }
  echo "Apache Kafka $version, $have node(s), logs in $cluster/node-*/log"
  echo "KAFKA_SEEDS=$(seeds "$have")"
}

case "${1:-}" in
up | down | status) "$1" ;;
*) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
