# The two commands to know are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo compare named tables test test-fast lint format docs site gpu-bundle clean

# Any Python from 3.11 to 3.13; name another with `make PYTHON=/path/to/python3.13 ...`.
IS_SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c "$(IS_SUPPORTED)" 2>/dev/null && { echo "$$python"; break; }; done)
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
CONFIG ?= config/demo.yaml
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PAGES := config schema losses published
PIP := $(BIN)/pip install --disable-pip-version-check

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(INSTALLED)  ## Create .venv with everything that envs/ pins

$(INSTALLED): envs/requirements.txt envs/requirements-source.txt pyproject.toml
	@"$(or $(PYTHON),python3)" -c "$(IS_SUPPORTED)" 2>/dev/null || { echo "error: expected Python 3.11, 3.12 or 3.13, found" \
		"$$("$(or $(PYTHON),python3)" --version 2>/dev/null || echo none); install one, or name it with make PYTHON=..."; exit 1; }
	@command -v cc >/dev/null || { echo "error: no C compiler (cc) found; xtcocotools has to be compiled"; exit 1; }
	@echo "Setting up $(VENV) with $$("$(PYTHON)" --version): about 6 GB, mostly torch"
	@# Anew: what another Python left there would stay.
	@"$(PYTHON)" -m venv --clear $(VENV)
	@# Without dependency resolution: the list is complete, and mmpose asks for packages that do not build.
	@set -o pipefail; $(PIP) --no-deps -r envs/requirements.txt | awk -v all=$$(grep -c == envs/requirements.txt) ' \
		/^(Collecting|Processing)/ { printf "\r  %d of %d packages fetched", ++n, all; fflush() } \
		/^Installing/ { print "\n  installing them, a minute or two"; fflush() }'
	@$(PIP) --quiet --no-deps --no-build-isolation --no-binary xtcocotools -r envs/requirements-source.txt
	@$(PIP) --quiet --no-deps --no-build-isolation -e .
	@echo "Ready: make demo, or source $(BIN)/activate for rspose and snakemake themselves"
	@touch $@

demo: $(INSTALLED)  ## Run the grid of CONFIG (the demo by default) and print the main table
	@[ -f "$(CONFIG)" ] || { echo "error: CONFIG=$(CONFIG): no such file; config/README.md lists the configs"; exit 1; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) --configfile "$(CONFIG)"
	@$(BIN)/rspose tables "$(CONFIG)"

compare: named $(INSTALLED)  ## Train LOSS beside the losses that have records; its row, differences, cost
	@$(BIN)/rspose compare "$(LOSS)" "$(CONFIG)" --cores $(CORES) $(if $(FROM),--from "$(FROM)") $(ARGS)

named:
	@[ -n "$(LOSS)" ] || { echo "error: name the loss: make compare LOSS=my_loss"; exit 1; }

tables: $(INSTALLED)  ## Make the tables of CONFIG again, after the cells that have no record
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake tables --cores $(CORES) --configfile "$(CONFIG)"

# One thread a test process: there is a process for every core, and one more, since those on a Slurm mostly wait for it.
# tests/conftest.py says which modules come first.
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)  ## Run the whole test suite: up to 40 minutes on two cores
	@$(PYTEST) $(ARGS)

test-fast: $(INSTALLED)  ## Run the tests but those marked slow: 3 minutes on two cores
	@$(PYTEST) -m "not slow" $(ARGS)

lint: $(INSTALLED)  ## Check style, imports, the workflow, types and the documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy
	@for page in $(PAGES); do $(BIN)/rspose docs $$page --check || exit; done
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: $(INSTALLED)  ## Format Python and Snakemake files
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile workflow

docs: $(INSTALLED)  ## Write config/README.md and schema.json, docs/losses.md and mmpose's numbers from what they are made of
	@for page in $(PAGES); do $(BIN)/rspose docs $$page || exit; done

site: $(INSTALLED)  ## Build the documentation as a website in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

gpu-bundle: $(INSTALLED)  ## Pack into .gpu/ what a GPU machine without a package registry lacks (envs/README.md)
	@envs/gpu/pack.sh

clean:  ## Remove everything in results/ but published and reference (not .venv)
	find results -mindepth 1 -maxdepth 1 ! -name published ! -name reference -exec rm -rf {} +
	rm -rf .snakemake
