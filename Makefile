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

.PHONY: help install run demo up down test test-long faults fuzz soak bench bench-feed bench-deliver bench-far bench-latency bench-confirm bench-catch-up bench-backlog bench-replicas bench-memory bench-batches bench-budget bench-large-bodies bench-contagion bench-outage incident audit format check clean

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

bench: install ## every benchmark there is, written down in bench/results.md; a limit that is missed is a failure
	@scripts/bench-tools
	@.venv/bin/python -m bench.results

bench-feed: install ## a page of the feed to events, beside feedparser and the least there can be (half a minute)
	@scripts/bench-tools
	@.venv/bin/python -m bench.feed

bench-deliver: install ## an event to a partner call, beside a bare loop, FastStream and Celery (two to six minutes)
	@scripts/bench-tools
	@.venv/bin/python -m bench.deliver

bench-far: install ## the same with a partner that answers after 50 ms (three to eight minutes)
	@scripts/bench-tools
	@.venv/bin/python -m bench.far

bench-latency: install ## an event to the delivered webhook at half load: p50, p95, p99 (about a minute)
	@.venv/bin/python -m bench.latency

bench-confirm: install ## the feed to confirmed events, beside a bare aio-pika confirm loop (about five minutes)
	@scripts/bench-tools
	@.venv/bin/python -m bench.confirm

bench-catch-up: install ## an archive of 20,000 entries, or ENTRIES=200000: rate and memory stay flat (three minutes, or half an hour)
	@.venv/bin/python -m bench.catch_up $(if $(ENTRIES),--entries $(ENTRIES))

bench-memory: install ## what the hub weighs when it does nothing (half a minute)
	@.venv/bin/python -m bench.memory

bench-batches: install ## how few calls 100,000 stock counts and 10,000 purchase orders take (about two minutes)
	@.venv/bin/python -m bench.batches

bench-budget: install ## how long hostile input keeps the event loop, for each way in (half a minute)
	@.venv/bin/python -m bench.budget

bench-large-bodies: install ## what a hub weighs at a backlog of the largest messages (about two minutes)
	@.venv/bin/python -m bench.large_bodies

bench-contagion: install ## what goes wrong beside a client does not delay it: quiet against disturbed (about three minutes)
	@.venv/bin/python -m bench.contagion

bench-outage: install ## a client away for longer than all waits, with 5,000 units for it (about two minutes)
	@.venv/bin/python -m bench.outage

# The queue that is drained; `make bench` takes 100,000.
MESSAGES ?= 1000000

bench-backlog: install ## a million messages in a work queue: rate by tenths, and memory (an hour; MESSAGES=100000: some minutes)
	@.venv/bin/python -m bench.backlog --messages $(MESSAGES)

bench-replicas: install ## two consumer processes against one, on SQLite and PostgreSQL, and starts (about four minutes)
	@scripts/test-tools
	@.venv/bin/python -m bench.replicas

EVENTS ?= 1000000
RECONNECTS ?= 1000

soak: install ## does it grow? EVENTS=1000000 with RECONNECTS=1000 cuts: memory, tasks, channels, files, threads (two hours)
	@.venv/bin/python -m bench.soak --events $(EVENTS) --reconnects $(RECONNECTS)

incident: install ## play the incident of docs/operations.md and write it down there (about two minutes)
	@scripts/test-tools
	@scripts/incident

audit: install ## known advisories of the locked packages, and build/sbom.cdx.json; 2 where no source answers
	@scripts/audit

format: install ## format the code and apply the safe lint fixes
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format --quiet .

check: install ## format, lint, types and import contracts, without the tests
	@scripts/check

clean: ## remove caches and build leftovers; keeps .venv and var/
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
