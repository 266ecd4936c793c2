# `make demo` and `make test` need Python 3.11 or newer and make; they install the rest, with apt where they may.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := build/demo
PEERS  := build/peers
BRIAN  := build/brian
MINUTES ?= 10
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint soak bench bench-accuracy golden clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/demo ## recordings -> verified firmware, on the data in examples/
	@sh tools/demo.sh $(abspath $(BIN)) $(DEMO)

test: $(VENV)/dev ## everything that is tested
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest -n auto -q -rs

lint: $(VENV)/dev ## ruff and mypy
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy

soak: $(VENV)/dev ## random models on every compiler and core; MINUTES=10
	@$(BIN)/python tools/soak.py --minutes $(MINUTES)

bench: $(VENV)/dev $(BRIAN)/ready ## rewrite docs/performance.md: instructions on cores, speed of this machine; DATA=folder of the data sets
	@$(BIN)/python -m benchmarks.performance --data "$(DATA)" --brian $(BRIAN)/bin/python

bench-accuracy: $(PEERS)/ready ## rewrite docs/accuracy.md: liquids and outside peers, an hour; DATA=folder of the data sets
	@$(PEERS)/bin/python -m benchmarks.accuracy --data "$(DATA)"

golden: $(VENV)/dev ## rewrite the committed sample of generated C, and the instructions that kernels take
	@$(BIN)/python -m pytest -q tests/test_sample.py tests/test_golden_cost.py --update-golden

clean: ## remove what was built; recordings and models stay
	rm -rf $(VENV) build dist

$(VENV)/demo: pyproject.toml tools/setup.sh
	@sh tools/setup.sh demo $(PYTHON) $(VENV)
	@touch $@

$(VENV)/dev: pyproject.toml tools/setup.sh
	@sh tools/setup.sh dev $(PYTHON) $(VENV)
	@touch $@

$(BRIAN)/ready:
	@$(PYTHON) -m venv $(BRIAN)
	@$(BRIAN)/bin/python -m pip install -q brian2==2.9.0 'numpy<2.3' setuptools
	@touch $@

$(PEERS)/ready: pyproject.toml benchmarks/requirements.txt
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install -q -r benchmarks/requirements.txt -e '.[search]'
	@touch $@
