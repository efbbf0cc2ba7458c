# Everything on a machine with Python >= 3.11 and make. Each target makes what it needs.

PYTHON ?= python3
BIN := .venv/bin
DATA ?=
SERVE ?= 1

.DEFAULT_GOAL := help
.PHONY: help env demo test nightly check docs format bench tables lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

env: .venv/.made ## make the environment in .venv from the hash-pinned lock

.venv/.made: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rex needs Python 3.11 or newer; name one with PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: env ## data, features, snapshot, a ranked feed; SERVE=0 stops after printing, DATA=dir takes a DeskDrop directory
	$(BIN)/rex demo $(if $(DATA),--data $(DATA)) $(if $(filter 0,$(SERVE)),--no-serve)

test: env ## the whole test suite, with real Spark, Redis, Airflow and HTTP
	$(BIN)/python -m pytest

nightly: env ## what takes too long for every commit: tests marked `nightly`, and ten times as many random histories of delivery
	$(BIN)/python -m pytest -m nightly -rs
	REX_TEST_STEPS=10000 $(BIN)/python -m pytest tests/online/test_delivery_under_change.py -s

check: env ## what CI runs: format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

docs: env ## write the generated pages of docs/ anew
	$(BIN)/python -m docs.generate

format: env ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: env ## measure; writes var/bench/results.json
	$(BIN)/python -m benchmarks

tables: env ## judge Rex and its peers, DATA=dir: DeskDrop's directory, and on a simulated world; about an hour on 2 cores
	$(BIN)/rex simulate var/tables/world --people 2000 --stories 8000 --events 400000 --ends-at 2026-01-31
	$(BIN)/rex eval $(DATA) --protocol published --protocol rolling --json var/tables/deskdrop.json
	$(BIN)/rex eval var/tables/world --protocol true-interest --json var/tables/world.json

lock: ## pin the dependencies of pyproject.toml anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --quiet --output-file requirements.lock

clean: ## remove the environment and everything under var
	rm -rf .venv var
