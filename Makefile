# Everything runs from .venv. `make setup` builds it; every other target builds it first when needed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
SEEDS ?= 100000
BENCH ?= all
SECONDS ?= 60

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup.stamp

.DEFAULT_GOAL := help
.PHONY: help setup lint test demo simulate fuzz bench constraints clean

help: ## show these lines
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(STAMP) ## build .venv with the pinned dependencies; does nothing when it is up to date

# PIP_CONSTRAINT also pins what builds the package itself, which --constraint would not.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	    || { echo "Python 3.11 or 3.12 is needed: make setup PYTHON=<its path>"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	$(BIN)/python -m compileall -q anya_actors
	@touch $@

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint ## all checks and all tests
	$(BIN)/pytest

demo: setup ## start the platform in a temporary directory and take the tour
	$(BIN)/anya demo

simulate: setup ## run the deterministic simulation: make simulate SEEDS=1000000
	$(BIN)/python -m anya_actors.testing.simulation --seeds $(SEEDS)

fuzz: setup ## fuzz every parser of outside bytes: make fuzz SECONDS=600
	for target in fuzz/fuzz_*.py; do \
	    $(BIN)/python -m fuzz.$$(basename $$target .py) -max_total_time=$(SECONDS) || exit 1; done

bench: setup ## measure, print tables, write benchmarks/results/
	$(BIN)/python -m benchmarks $(BENCH)

constraints: setup ## write down the exact versions of what .venv holds
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude-editable --exclude pip \
	    | LC_ALL=C sort -f; } > constraints.new
	mv constraints.new constraints.txt
	@touch $(STAMP)

clean: ## remove .venv and all caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
