# Two commands a newcomer needs: `make demo` and `make test`. Both make their own environment under .venv first.
PYTHON ?= python3
VENV ?= .venv
PIP ?= $(VENV)/bin/python -m pip
EXTRAS ?= llamaindex,langchain,embedded
BIN := $(VENV)/bin

.PHONY: demo test test-all lint types imports check clean

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests

test-all: $(VENV)/.all
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests/all tests/faults

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

check: lint types imports

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, found $$($(PYTHON) --version). Say which: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) install -q --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) install -q --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS),bge,openai,dev]"
	touch $@

$(VENV)/.all: $(VENV)/.dev
	$(PIP) install -q --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS),test-all]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
