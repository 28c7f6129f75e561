# What a developer types. `make` alone lists the targets.
#
# Ctrl-C: the terminal sends SIGINT to make and to the hub at once. Make waits until the hub has drained and ended with
# 130, adds a line of its own ("Error 130"), and dies by the same signal, which a shell reports as 130 (measured). Any
# other failing status of the hub, and a 130 after a SIGINT to the hub alone, is 2 in make's own terms.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Images often set it; here every command and test starts processes of its own, which would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

# Two workers fit the two cores that a private broker and its tests share; a file stays on one worker, so that the
# tests of a file may share what is slow to start.
PYTEST_ARGS ?= -q -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install run demo up down test test-long test-generations faults fuzz bench audit format check clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target does; do printf '%-18s %s\n' "$$target" "$$does"; done

install: ## the set-up alone: .venv from requirements.lock, RabbitMQ if missing
	@scripts/install

run: ## set up, then run the hub in the foreground (sandbox partners without a hub.toml) until Ctrl-C
	@scripts/install run && exec .venv/bin/hub up

demo: ## set up, then run every sandbox order to its final state and end with a summary
	@scripts/install run && exec .venv/bin/hub up --demo

up: ## containers: broker, PostgreSQL and hub, with simulated partners where there is no hub.toml (needs Docker)
	@scripts/up

down: ## stop the containers; keeps their data
	@scripts/down

test: install ## set up, then format, lint, types, import contracts and every test but the long ones on a private broker
	@scripts/test-tools
	@scripts/check
	@HUB_TEST_BROKER=required .venv/bin/python -m pytest $(PYTEST_ARGS) -m "not long" --ignore=tests/cluster

test-long: install ## the long flows: replicas killed at random, outages, more fault schedules, a broker cluster
	@scripts/test-tools
	@HUB_TEST_BROKER=required .venv/bin/python -m pytest $(PYTEST_ARGS) -m long --ignore=tests/cluster
	@HUB_TEST_BROKER=required .venv/bin/python -m pytest -q tests/cluster

test-generations: install ## the tests on a broker, for each RabbitMQ in HUB_RABBITMQ_SERVERS=path:path beside the installed one
	@scripts/test-tools
	@PYTEST_ARGS="$(PYTEST_ARGS)" scripts/test-generations

# SEED=n repeats one schedule and shows its log; SCHEDULES and LANES say how many, and how many at a time.
SCHEDULES ?= 1000
LANES ?= 4

faults: install ## a thousand seeded schedules of faults, told in docs/reliability.md; SEED=n repeats one
	@.venv/bin/python -m tests.faults --lanes $(LANES) $(if $(SEED),--seed $(SEED),--schedules $(SCHEDULES) --write)

# SECONDS is for each wall.
SECONDS ?= 60

fuzz: install ## coverage-guided fuzzing of the feed parser, the event decoder and the settings; SECONDS=n for each
	@scripts/fuzz-tools
	@.venv-fuzz/bin/python -m tests.fuzz.coverage_guided --seconds $(SECONDS)

# NAME=latency runs one; ARGS go to it: make bench NAME=catch-up ARGS="--entries 200000". A wrong NAME lists them.
bench: install ## every benchmark, written down in bench/results.md, or one by NAME; a limit that is missed is a failure
	@scripts/bench $(NAME) $(ARGS)

audit: install ## known advisories of the locked packages, and build/sbom.cdx.json; 2 where no source answers
	@scripts/audit

format: install ## format the code and apply the safe lint fixes
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format --quiet .

check: install ## format, lint, types, import contracts and words, without the tests
	@scripts/check

clean: ## remove caches and build leftovers; keeps .venv and var/
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
