# Two commands matter: `make demo` and `make test`.  Both first make .venv with the pinned dependencies; the stamp in it
# lets a second run skip that until requirements.txt or pyproject.toml change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
BENCH := $(VENV)/.bench-$(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
ARGS ?=
QUICK := not slow and not processes and not browser and not real_data
# One thread a test process: several that each take every core only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench answers soak readme

help: ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10

setup: $(READY) ## make .venv with the pinned dependencies

demo: $(READY) ## make a small model better with feedback; ARGS="--quick" is faster
	$(BIN)/heed demo $(ARGS)

test: $(READY) ## every test
	$(PYTEST) $(ARGS)

check: $(READY) ## style, types, layers and the quick tests, before a commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST) -m "$(QUICK)" $(ARGS)

bench: $(BENCH) ## side by side with TRL and with the bare model; needs a quiet machine
	$(BIN)/python -m benchmarks $(ARGS)

answers: $(BENCH) ## train objectives to optima that are known in closed form
	$(BIN)/python -m benchmarks.known_answers $(ARGS)

soak: $(BENCH) ## kill and resume a run at random moments for ten minutes; ARGS="--minutes 60" is longer
	$(BIN)/python -m benchmarks.soak $(ARGS)

readme: $(READY) ## rewrite the parts of the README that are made from the code
	$(BIN)/python docs/write_readme.py

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"Heedful needs Python 3.11 or newer, but $(PYTHON) is {v[0]}.{v[1]}; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	@rm -f $(VENV)/.ready-* && touch $@

$(BENCH): $(READY)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]' -c requirements.txt
	@rm -f $(VENV)/.bench-* && touch $@
