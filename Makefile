# One command each; `make help` lists them.
# The environment is made from requirements.lock: with uv where it is on the path, else with venv and pip.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
UV ?= $(shell command -v uv)
# One more than the cores of CI: what runs real processes mostly waits.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest
SCHEMA := src/popham/opamp/schema

.PHONY: help setup demo test lint types unit bench soak docs reference proto lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv from the lock

demo: $(READY) ## Manager and agents on loopback; ONCE=1 ends by itself, TOPOLOGY=proxy or chain puts proxies between
	@$(BIN)/python -m popham.testing.demo $(if $(ONCE),--once) $(if $(TOPOLOGY),--topology "$(TOPOLOGY)") $(if $(STATE),--state "$(STATE)")

test: lint types unit ## all that CI runs: lint, types, tests

lint: $(READY) ## ruff: rules and form
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy

unit: $(READY) ## the tests alone; ARGS goes to pytest
	@$(PYTEST) -n $(WORKERS) $(ARGS)

bench: $(READY) ## every scenario of bench/, and one table against the goals; ARGS goes to each
	@$(BIN)/python -m bench.table --run $(ARGS)

soak: $(READY) ## the long forms of tests
	@$(PYTEST) -m soak --timeout=0 $(ARGS) || { code=$$?; [ $$code -eq 5 ] || exit $$code; echo "no test is marked soak yet" >&2; }

docs: $(READY) ## docs/ as a site, in site/
	@$(BIN)/zensical build --clean

reference: $(READY) ## write what docs/reference takes from the commands and the tests
	@$(BIN)/python tools/command_page.py
	@$(BIN)/python tools/policy_page.py
	@$(BIN)/python tools/row_page.py

proto: $(READY) ## generate the protobuf code again
	@cd $(SCHEMA)/proto && find . -name '*.proto' -printf '%P\n' | LC_ALL=C sort \
	  | xargs "$(CURDIR)/$(BIN)/python" -m grpc_tools.protoc -I . --python_out=.. --pyi_out=..

lock: $(READY) ## resolve the newest allowed versions into requirements.lock (needs uv)
	@$(if $(UV),,echo "make lock needs uv on the path" >&2; exit 1)
	$(UV) pip compile pyproject.toml --all-extras --group dev --group docs --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock

clean: ## remove what was made, .venv included
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis site dist

$(READY): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer was not found; install it, or say where: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11; say where a newer one is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) from requirements.lock; the first time takes about a minute" >&2
ifneq ($(UV),)
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python "$(PYTHON)" $(VENV)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) has no venv; on Debian: apt-get install python3-venv, or put uv on the path" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@
