PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

QUERY := SELECT name, estimated_recipients_count AS recipients, opt_outs_count AS opt_outs \
FROM mcommons.broadcasts ORDER BY opt_outs DESC LIMIT 5

demo: $(STAMP)
	$(BIN)/python pipelines/mcommons.py --sandbox
	@echo
	@echo A query to try:
	$(BIN)/python -c "import duckdb; print(duckdb.connect('mcommons_sandbox.duckdb').sql('$(QUERY)'))"

test: check
	$(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python tests/bench.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
