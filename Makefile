# `make demo` and `make test` are all the set-up a fresh clone needs; each makes .venv if it is not there.
# constraints.txt names CPU torch. On Linux, PyPI's own torch carries CUDA libraries; where that is all there is, add
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
BIN := .venv/bin
CORES := $(shell getconf _NPROCESSORS_ONLN)

.PHONY: demo test lint types layers pytest format bench reproduce clean

demo: .venv/installed
	$(BIN)/risedb demo

test: lint types layers pytest

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/tested
	$(BIN)/mypy

layers: .venv/tested
	$(BIN)/lint-imports

pytest: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(CORES)

format: .venv/tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	touch $@

.venv/rivals: .venv/tested benchmarks/rivals/no-deps.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group rivals
	$(BIN)/python -m pip install --quiet --no-deps -r benchmarks/rivals/no-deps.txt
	touch $@

reproduce: .venv/rivals
	$(BIN)/python -m benchmarks.reproduce ../shared

bench: .venv/installed
	$(BIN)/python -m benchmarks.scan --small

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
