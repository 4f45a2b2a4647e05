# amends: every task of this repository. `make` alone lists them.

GO      ?= go
# The Kafka client's mutexes must be visible to testing/synctest, see internal/kafkatest.
TAGS    := synctests
GOTEST   = $(GO) test -tags $(TAGS) -timeout 10m
# No C: the binary is static and builds without a compiler. The race detector is the exception.
export CGO_ENABLED ?= 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Packages with goroutines of their own, each small enough to run with the race detector in a check.
RACE    := ./schema ./bindings ./correlate/... ./bridge ./claimcheck ./telemetry ./explain ./statestore ./changelog ./topology ./topology/keyed ./orchestrator ./participant/... ./client ./api ./internal/kafkatest ./internal/local
# Packages with tests on a cluster: whatever uses kafkatest.
ON_KAFKA = $(shell grep -rlE 'kafkatest\.(New|Real)\b' --include='*_test.go' . | xargs -n1 dirname | sort -u)
FUZZTIME ?= 20s
BLOCK ?= 60s

.DEFAULT_GOAL := help
.PHONY: help build demo test check check-clean race mutants prove fuzz-seeds golden lint vet tidy web browser browser-test screenshots fmt fmt-check nightly kafka-up kafka-down postgres-up postgres-down participants-test polyglot kafka-test deploy-test fuzz bench roll bench-ceiling bench-restore bench-parked clean bench-isolation

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/amends
	$(GO) build -o bin/amends ./cmd/amends

demo: build ## a broker, three nodes and sample sagas on this machine, no download
	bin/amends demo

test: ## run all tests (needs Go and make, nothing else)
	$(GOTEST) ./...

check: ## exactly what CI runs before the real-Kafka suite
	@git status --porcelain >.check-before; git diff HEAD >>.check-before
	$(MAKE) fmt-check
	$(MAKE) vet
	$(MAKE) lint
	$(MAKE) tidy
	$(MAKE) build
	$(MAKE) test
	$(MAKE) race
	$(MAKE) fuzz-seeds
	@$(MAKE) check-clean

check-clean:
	@git status --porcelain >.check-after; git diff HEAD >>.check-after; \
	if ! cmp -s .check-before .check-after; then \
		echo "the checks changed the tree: commit what they generated, or ignore what they left"; \
		git status --short; diff .check-before .check-after | head -50; rm -f .check-before .check-after; exit 1; \
	fi; rm -f .check-before .check-after; echo "tree is clean"

race: ## the packages with goroutines of their own, with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -tags $(TAGS) -timeout 20m -race -short $(RACE)

mutants: ## plant known mistakes in the saga machine: its tests must notice every one
	AMENDS_MUTANTS=1 $(GO) test -tags $(TAGS) -count=1 -timeout 30m ./internal/mutants

prove: ## prove the examples, and print how many states that took
	AMENDS_PROVE=1 $(GO) test -tags $(TAGS) -count=1 -timeout 30m -v -run '^TestExamples$$' ./sagas/prove

fuzz-seeds: ## run every fuzz target on its seeds and its stored failures
	$(GOTEST) -run '^Fuzz' ./...

fuzz: ## fuzz every target for FUZZTIME (20s)
	@set -e; for dir in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' $$dir/*_test.go); do \
			echo "== $$dir $$target"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

golden: ## rewrite the golden files; read the diff before you commit it
	@set -e; \
	for file in $$(grep -rlE '^var update = flag.Bool' --include='*_test.go' .); do \
		tests=$$(sed -nE 's/^func (Test[A-Za-z0-9_]*)\(.*/\1/p' $$file | paste -sd '|' -); \
		$(GOTEST) $$(dirname $$file) -run "^($$tests)$$" -update; \
	done; \
	for dir in $$(grep -rlE '^\s+"github.com/cockroachdb/datadriven"$$' --include='*.go' . | xargs -n1 dirname | sort -u); do $(GOTEST) $$dir -run Script -rewrite; done

vet: ## go vet
	$(GO) vet -tags $(TAGS) ./...

lint: bin/staticcheck ## staticcheck, by the list in staticcheck.conf
	bin/staticcheck -tags $(TAGS) ./...

bin/staticcheck: tools/go.mod tools/go.sum
	$(GO) -C tools build -o ../$@ honnef.co/go/tools/cmd/staticcheck
	@touch $@

web: bin/templ ## make the Go files of the pages from the templates in web/
	cd web && ../bin/templ generate

bin/templ: tools/go.mod tools/go.sum
	$(GO) -C tools build -o ../$@ github.com/a-h/templ/cmd/templ
	@touch $@

browser: ## install Chromium for the browser tests (Debian, Ubuntu; needs root)
	apt-get update && apt-get install -y --no-install-recommends chromium

browser-test: ## the pages in Chromium: live updates, repairs, keyboard, names, contrast (make browser installs it)
	AMENDS_BROWSER=must $(GO) test -tags $(TAGS) -count=1 -p 1 -timeout 10m -run '^TestBrowser' ./web/...

SCREENSHOTS ?= screenshots
screenshots: ## every page in light and dark, as PNG in SCREENSHOTS (screenshots/)
	AMENDS_BROWSER=must AMENDS_SCREENSHOTS=$(abspath $(SCREENSHOTS)) $(GO) test -tags $(TAGS) -count=1 -timeout 10m -run '^TestScreenshots$$' ./web

tidy: ## go.mod is tidy; packages import only what the house allows
	$(GO) mod tidy -diff
	$(GOTEST) ./internal/tidy

fmt: ## format all Go files
	gofmt -s -w $$(git ls-files '*.go')

fmt-check:
	@bad=$$(git ls-files '*.go' | while read -r f; do if [ -f "$$f" ]; then gofmt -s -l "$$f"; fi; done); \
	if [ -n "$$bad" ]; then echo "not formatted (make fmt):"; echo "$$bad"; exit 1; fi

kafka-up: ## start a real Kafka on 127.0.0.1:9092 (KAFKA_PORT, NODES=3) and print KAFKA_SEEDS
	@deploy/kafka/kafka.sh up

kafka-down: ## stop the Kafka that kafka-up started
	@deploy/kafka/kafka.sh down

postgres-up: ## start a real PostgreSQL on 127.0.0.1:15432 (PG_PORT) and print PG_DSN
	@deploy/postgres/postgres.sh up

postgres-down: ## stop the PostgreSQL that postgres-up started
	@deploy/postgres/postgres.sh down

.PHONY: registry-test
registry-test: ## package schema against a real Apicurio Registry (Java 21 or newer, Maven): REGISTRY_URL if set, else one started for it
	deploy/registry/with-registry.sh $(GO) test -tags $(TAGS) -count=1 -v -run '^TestRealRegistry$$' ./schema

kafka-test: build ## the suites on a real Kafka: KAFKA_SEEDS if set, else one started for it
	deploy/kafka/with-kafka.sh $(GO) test -tags $(TAGS) -count=1 -p 1 -v -timeout 20m $(KAFKA_TEST_FLAGS) $(ON_KAFKA)

participants-test: build ## the example participants of four languages, as their READMEs say, and the SQL inbox: real Kafka, real PostgreSQL
	deploy/postgres/with-postgres.sh $(GO) test -tags $(TAGS) -count=1 ./participant/sqlinbox
	deploy/postgres/with-postgres.sh deploy/kafka/with-kafka.sh $(GO) test -tags $(TAGS) -count=1 -v -timeout 20m -run '^TestKafkaParticipants$$' ./internal/blackbox

POLYGLOT ?= 10000
polyglot: build ## POLYGLOT (10000) card payments over participants in four languages and the HTTP bridge, killed at random; the ledgers must balance
	POLYGLOT=$(POLYGLOT) deploy/postgres/with-postgres.sh deploy/kafka/with-kafka.sh $(GO) test -tags $(TAGS) -count=1 -v -timeout 60m -run '^TestKafkaPolyglot$$' ./internal/blackbox

ROLL_FLAGS ?= -roll.processes 3 -roll.partitions 3 -roll.rate 300 -roll.rounds 5 -roll.kills 3 -roll.state 200 -roll.warm 6m -roll.within 20m -roll.limits
# Brokers that live this long are better off with both compilers (deploy/kafka/kafka.sh has one by default).
ROLL_JAVA ?= -XX:+UseSerialGC
roll: build ## rolling restarts and kill -9 under load on three brokers: prints the gaps, fails when a limit is not held (ROLL_FLAGS)
	NODES=3 KAFKA_PORT=$(or $(KAFKA_PORT),19092) KAFKA_HEAP=$(or $(KAFKA_HEAP),1g) KAFKA_JAVA="$(ROLL_JAVA)" deploy/kafka/with-kafka.sh \
		$(GO) test -tags $(TAGS) -count=1 -v -timeout 60m -run '^TestKafkaRoll$$' ./internal/blackbox $(ROLL_FLAGS)

deploy-test: ## what deploy/ ships, against Helm, the Kubernetes API, Prometheus and systemd
	$(GO) -C deploy/verify test -count=1 ./...

nightly: ## the long run: ten thousand drawn definitions, the examples proved, race everywhere, fuzzing, three brokers
	RAPID_CHECKS=10000 $(GO) test -tags $(TAGS) -count=1 -timeout 6h -run 'TestP[0-9]|TestPeople|TestFamily|TestFlatAndTree' ./sagas/sagatest
	RAPID_CHECKS=10000 $(GO) test -tags $(TAGS) -count=1 -timeout 2h ./sagas/sagasgen
	$(MAKE) mutants
	$(MAKE) prove
	AMENDS_PROVE=1 RAPID_CHECKS=1000 $(GO) test -tags $(TAGS) -count=1 -timeout 2h -run 'TestReductionsOnDrawnDefinitions' ./sagas/prove
	CGO_ENABLED=1 $(GO) test -tags $(TAGS) -race -count=1 -timeout 60m ./...
	$(MAKE) fuzz FUZZTIME=5m
	NODES=3 KAFKA_PORT=19092 $(MAKE) kafka-test
	$(MAKE) roll

bench-isolation: ## what the trouble of some costs the others: embedded broker, then a real Kafka (BLOCK=60s)
	$(GO) test -tags $(TAGS) -timeout 20m -run '^$$' -bench '^BenchmarkIsolation$$' -benchtime 1x ./bench -isolation.phase 15s -isolation.block $(BLOCK) -isolation.check
	deploy/kafka/with-kafka.sh $(GO) test -tags $(TAGS) -timeout 20m -run '^$$' -bench '^BenchmarkIsolation$$' -benchtime 1x ./bench -isolation.phase 15s -isolation.block $(BLOCK) -isolation.check

bench: ## run the benchmarks
	$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchmem ./...

bench-ceiling: build ## real Kafka: the engine beside a loop written by hand, under load and almost idle
	KAFKA_JAVA= deploy/kafka/with-kafka.sh sh -c 'bin/amends bench --brokers $$KAFKA_SEEDS --ceiling && bin/amends bench --brokers $$KAFKA_SEEDS --ceiling --rate 20 --sagas 600'

bench-restore: ## SAGAS (1 million) live sagas: restore against a plain consumer, and kill everything at once
	KAFKA_JAVA= deploy/kafka/with-kafka.sh $(GO) test -tags $(TAGS) -run '^$$' -bench 'BenchmarkRestore$$' -benchtime 1x -timeout 2h ./bench \
		-sagas $(or $(SAGAS),1000000) $(BENCH_FLAGS)

bench-parked: ## SAGAS (10 million) parked sagas with timers, TIMERS (1 million) of them due at once
	KAFKA_JAVA= deploy/kafka/with-kafka.sh $(GO) test -tags $(TAGS) -run '^$$' -bench 'BenchmarkParked$$' -benchtime 1x -timeout 4h ./bench \
		-sagas $(or $(SAGAS),10000000) -timers $(or $(TIMERS),1000000) $(BENCH_FLAGS)

clean: kafka-down postgres-down ## remove what the other targets made
	rm -rf bin .kafka .postgres amends-data .check-before .check-after
