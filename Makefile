# Everything on a machine with Python (which versions: pyproject.toml) and make. Each target makes what it needs.

PYTHON ?= python3
BIN := .venv/bin
DATA ?=
SERVE ?= 1
ARGS ?=
PART ?=
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help env demo test quick nightly check docs format bench tables lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

define SUPPORTED
import re, sys
low, high = map(int, re.search(r">=3\.(\d+),<3\.(\d+)", open("pyproject.toml").read()).groups())
if sys.implementation.name != "cpython" or not (3, low) <= sys.version_info[:2] < (3, high):
    sys.exit(f"Rex runs on CPython 3.{low} to 3.{high - 1}; this is {sys.implementation.name} {sys.version.split()[0]}. Name another with PYTHON=..., such as make demo PYTHON=python3.{high - 1}")
endef
export SUPPORTED

env: .venv/.made ## make the environment in .venv from the hash-pinned lock

.venv/.made: requirements.lock pyproject.toml
	@$(PYTHON) -c "$$SUPPORTED"
	$(PYTHON) -m venv .venv
	@echo "installing the packages of requirements.lock"
	@$(PIP) --require-hashes --only-binary :all: --no-binary pyspark -r requirements.lock 2>.venv/pip.log || { \
		grep '^ERROR: ' .venv/pip.log | tail -n 1 | cut -c -200; \
		echo "Rex's packages could not be installed; all that pip said is in .venv/pip.log. They are built for Linux with glibc 2.28"; \
		echo "or newer on x86-64 or aarch64, and come from PyPI, or from the mirror of it that pip's settings name."; \
		exit 1; } >&2
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: env ## data, features, snapshot, a ranked feed; SERVE=0 stops after printing, DATA=dir takes a DeskDrop directory, ARGS= options of `rex demo`
	$(BIN)/rex demo $(if $(DATA),--data $(DATA)) $(if $(filter 0,$(SERVE)),--no-serve) $(ARGS)

test: env ## the tests, with real Spark, Redis, Airflow and HTTP; `make nightly` has more
	$(PYTEST)

quick: env ## while typing: format, lint, types, and the tests that need neither Spark nor processes, with one page over HTTP
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "smoke or not (nightly or spark or http or process)"

nightly: env ## what takes too long for every commit, in parts; again: those that have not passed. FRESH=1: all, PART=name: one (batch, clients, delivery, demo, environments, imports, installs)
	$(BIN)/python -m tests.nightly $(PART)

check: env ## what CI runs: format, lint, types, dead code, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/vulture
	$(MAKE) test

docs: env ## regenerate the generated pages of docs/
	$(BIN)/python -m docs.generate

format: env ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: env ## measure; writes var/bench/results.json
	$(BIN)/python -m benchmarks

tables: env ## evaluate Rex and its baselines, DATA=dir: DeskDrop's directory, and on a simulated world; about an hour on 2 cores
	$(BIN)/rex simulate var/tables/world --users 2000 --stories 8000 --events 400000 --ends-at 2026-01-31
	$(BIN)/rex eval $(DATA) --protocol published --protocol rolling --json var/tables/deskdrop.json
	$(BIN)/rex eval var/tables/world --protocol true-interest --json var/tables/world.json

lock: env ## pin the dependencies of pyproject.toml again
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --quiet --output-file requirements.lock

clean: ## remove the environment and everything under var
	rm -rf .venv var
