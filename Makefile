# Two commands matter: `make app` opens the dashboard, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8501

.PHONY: app test test-slow lint demo-results screenshots clean

app: $(VENV)/.app
	$(BIN)/streamlit run app.py --server.address localhost --server.port $(PORT)

test: lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The demonstration run that comes with the repository, made anew; what is there already is kept.
demo-results: $(VENV)/.app
	$(BIN)/python -m vlmad_core study --dataset bundled_a bundled_b --store results/bundled --seeds 2 --threads 2

screenshots: $(VENV)/.dev
	$(BIN)/python tests/app/screenshots.py --out screenshots
	$(BIN)/python tests/app/screenshots.py --readme pages/pictures

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.app

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
