# amends: every task of this repository. `make` alone lists them.

GO   ?= go
# The Kafka client's mutexes must be visible to testing/synctest; see internal/kafkatest.
TAGS := synctests

.DEFAULT_GOAL := help
.PHONY: help build test

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/amends
	$(GO) build -o bin/amends ./cmd/amends

test: ## run all tests (needs Go and make, nothing else)
	$(GO) test -tags $(TAGS) ./...
