# Everything is set up in .venv of this checkout; nothing outside it is touched.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO_DIR := penstock-runs/demo

.PHONY: demo test prove check format clean

demo: $(READY)  ## run the main job on an example graph
	rm -rf $(DEMO_DIR)
	$(BIN)/penstock run examples/averages.json --session demo --dir $(DEMO_DIR)

test: $(READY)  ## the tests with reduced counts
	$(BIN)/python -m pytest -q -m "not prove"

prove: $(READY)  ## all tests, with the full counts that the project's claims name
	PENSTOCK_PROVE=1 $(BIN)/python -m pytest -q -rs

check: $(READY)  ## style, types, import layers
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix-only src tests benchmarks examples
	$(BIN)/ruff format src tests benchmarks examples

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Penstock needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
