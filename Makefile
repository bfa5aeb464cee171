# Two commands matter: `make app` opens the dashboard, `make test` checks everything. `make help` shows the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8501
TOOLS := $(VENV)/tools
INSTALL := -m pip install --quiet --disable-pip-version-check
# What is locked is installed as it was locked, by the SHA-256 of its files. torch alone goes by its version: its CPU
# build differs from index to index, and other builds bring libraries of their own along.
LOCKED := $(INSTALL) --require-hashes --no-deps -r
TORCH = $(shell grep '^torch==' requirements.txt)

.PHONY: app test test-slow test-faults load lint lock audit demo-results screenshots help clean

app: $(VENV)/.app  ## install what is needed and open the dashboard
	$(BIN)/python -m vlmad_core app --port $(PORT)

# One worker a core, but no more than four: each holds torch, and some a browser. A file's tests stay together, since
# they share what is costly to make; in the order of collection, the short examples in docstrings fill the end.
test: lint  ## check style, types and imports, and run all tests but the slow ones
	$(BIN)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest

# Two at a time: kills, full disks, damage and the like need processor time of their own to come at any moment.
test-faults: $(VENV)/.dev  ## run everything into every fault: kills, full disks, damage, ...; prints how many cases were lost
	$(BIN)/python -m pytest tests/faults -n 2

load: $(VENV)/.dev  ## visit the dashboard as many visitors at once for five minutes, and print how long pages took
	$(BIN)/python tests/performance/load.py --viewers 50 --demo 20 --seconds 300

lint: $(VENV)/.dev  ## check style, types, imports and house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/house.py

# What is there already is kept.
demo-results: $(VENV)/.app  ## make the demonstration run that comes with the repository anew
	$(BIN)/python -m vlmad_core study --dataset bundled_a bundled_b --store results/bundled --seeds 2 --threads 2
	$(BIN)/python -m vlmad_core precompute --dataset bundled_a bundled_b --method winclip:fast \
	    --threads 2 --grids first_seed --store results/bundled

screenshots: $(VENV)/.dev  ## take pictures of all views, and the README's
	$(BIN)/python tests/app/screenshots.py --out screenshots
	$(BIN)/python tests/app/screenshots.py --readme pages/pictures

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt requirements.lock | $(VENV)/bin/python
	$(BIN)/python $(LOCKED) requirements.lock
	$(BIN)/python $(INSTALL) $(TORCH)
	@touch $@

$(VENV)/.dev: requirements.txt requirements.lock requirements-dev.lock | $(VENV)/bin/python
	$(BIN)/python $(LOCKED) requirements-dev.lock
	$(BIN)/python $(INSTALL) $(TORCH)
	@touch $@ $(VENV)/.app

$(TOOLS)/.done: requirements-tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(LOCKED) requirements-tools.lock
	@touch $@

# Versions stay as long as they fit; UPGRADE='--upgrade' takes the newest, UPGRADE='--upgrade-package NAME' that of one.
lock: $(VENV)/.dev $(TOOLS)/.done  ## write the lock files anew, and what licences they come under
	$(BIN)/python -m tests.supply.locks $(TOOLS)/bin/uv $(UPGRADE)
	$(MAKE) $(VENV)/.dev $(TOOLS)/.done
	$(BIN)/python -m tests.supply.licences $(TOOLS)/lib/python*/site-packages

audit: $(TOOLS)/.done  ## ask whether advisories are known for a locked version
	$(TOOLS)/bin/python -m tests.supply.audit

help:  ## show what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

clean:  ## remove the environment and what tools keep
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
