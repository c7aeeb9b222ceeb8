# The commands of vitpipe; `make help` lists them.

VENV ?= .venv
PRESET ?= demo
WORKDIR ?= work
DATA ?= $(WORKDIR)/data/synthetic
# Added to the command behind `run`, `test` or `lock`.
ARGS ?=
# A finished environment keeps its own Python: `make setup PYTHON=python3.12` is said once.
PYTHON ?= $(shell test -x $(VENV)/bin/python -a -f $(VENV)/.setup-done && echo $(VENV)/bin/python || echo python3)
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test check format lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-12s %s\n' "$$name" "$$text"; done

setup: ## make or update the environment in .venv (PYTHON=python3.11 picks another Python)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null || { \
		echo "vitpipe setup: '$(PYTHON)' is no Python 3; install Python 3.11, or name it: make setup PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@"$(PYTHON)" .ci/bootstrap.py "$(VENV)"

run: setup ## train, evaluate and push a model on generated images (PRESET, DATA, WORKDIR, ARGS)
ifeq ($(DATA),$(WORKDIR)/data/synthetic)
	@$(BIN)/vitpipe data synthetic --output "$(DATA)"
endif
	@$(BIN)/vitpipe run --preset "$(PRESET)" --data "$(DATA)" --workdir "$(WORKDIR)" $(ARGS)

test: setup ## run the default test suite
	@$(BIN)/python -m pytest $(ARGS)

check: setup ## lint, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## format the code and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup ## write requirements.lock again from pyproject.toml (ARGS=--upgrade for newer versions)
	@"$(BIN)/python" .ci/bootstrap.py "$(VENV)" --lock $(ARGS)

clean: ## remove the environment and tool caches; work/ stays
	@rm -rf "$(VENV)" build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find models components pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +
