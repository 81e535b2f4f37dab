# Only Python >= 3.11 and make are needed: everything is installed into .venv at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 10

.PHONY: help setup demo test bench chaos clean

help:
	@echo "make demo    the main job on real prices that come with a dependency"
	@echo "make test    format, lint, types, tests"
	@echo "make bench   speed, as ratios measured in one run"
	@echo "make chaos   workers, nodes and drivers killed at random for MINUTES=10, and what was lost"
	@echo "make setup   only the environment in $(VENV)"
	@echo "make clean   remove the environment and caches (never runs/ or mlflow.db)"

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}; use make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[data]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[data,test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[data,test,bench]'
	@touch $@

setup: $(VENV)/.test

demo: $(VENV)/.run
	$(BIN)/hedgegrid run configs/studies/demo.yaml

test: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

chaos: $(VENV)/.test
	$(BIN)/python tests/chaos.py --minutes $(MINUTES) --write

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
