PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup environments install demo test test-models test-dashboard test-schedulers test-all screenshots chromium check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Install for a server, without the test dependencies.
install:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .

demo: $(STAMP)
	$(BIN)/textlift demo

# Three at a time on two cores, because tests wait for processes and pauses.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal
# Suites of their own beside make test, each in a folder of tests.
SUITES := chaos dashboard destinations models privacy sandbox schedulers webhooks

test: check
	$(PYTEST) -m "not slow" $(SUITES:%=--ignore tests/%)

# The other suites: make test-chaos, or make test-chaos+privacy for two of them in one run.
test-%: $(STAMP)
	$(PYTEST) -m "not slow" $(addprefix tests/,$(subst +, ,$*))

# Run all cases. The faster suites run only one or two cases of each kind.
test-all: check test-models test-dashboard test-schedulers
	$(PYTEST) --ignore tests/dashboard --ignore tests/models --ignore tests/schedulers

test-models: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/models

# One server and one browser for all of them.
test-dashboard: $(STAMP) chromium
	$(BIN)/python -m pytest tests/dashboard

# The pictures of docs/dashboard.md, from the warehouse of a demo.
screenshots: $(STAMP) chromium demo
	$(BIN)/textlift models --sandbox
	$(BIN)/python -m tests.dashboard.screenshots

CHROMIUM ?= /usr/bin/chromium
export CHROMIUM

# Debian's. Set CHROMIUM to use another one.
chromium:
	@test -x $(CHROMIUM) || { apt-get update && apt-get install --yes --no-install-recommends chromium; }

# Each scheduler has its own environment, as its users have. They spend much of the time waiting.
test-schedulers: environments
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/schedulers

environments: $(STAMP) .venv-airflow/.installed .venv-dagster/.installed

.venv-%/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*,dbt]' 'dlt[postgres]'
	touch $@

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m bench

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
