# Every target does its own set-up: Python 3.11 or newer, no root. `make help` lists them.

VENV ?= .venv
PYTHON_CANDIDATES ?= python3.11 python3.12 python3.13 python3
PYTEST_WORKERS ?= 2
TASK := HalfCheetah-v5
RUNS := logs/rsl_rl/halfcheetah-v5

PY := $(VENV)/bin/python
TRUDI := $(PY) -m trudi_rsl
# The environment is fresh while the files that say what to install are the ones it was made from.
ENV_KEY := $(shell cat setup.py constraints.txt | cksum | cut -d ' ' -f 1)
STAMP := $(VENV)/.installed-$(ENV_KEY)
# Twice quiet: pip prints errors only.
PIP_INSTALL := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input -c constraints.txt

# This checkout comes first, also when $(VENV) is shared by several checkouts (.ci/run), and nothing of the caller's.
export PYTHONPATH := $(CURDIR)/source
export PYTEST_WORKERS

.DEFAULT_GOAL := help
.PHONY: help install train benchmark test test-fast test-hosts test-nightly lint format clean env-key

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

install: $(STAMP)  ## Make .venv and install the package with everything it can use
	@echo 'Installed. Next: source $(VENV)/bin/activate'
	@echo '                 trudi tasks    (what can be trained here)'

train: $(STAMP)  ## Train HalfCheetah-v5 with TruDi on the CPU, then evaluate, export and plot it
	@set -eu; \
	$(TRUDI) train --task $(TASK) --algo trudi --seed 1 --device cpu --run_name quickstart; \
	run=$$(ls -dt $(RUNS)/*_quickstart | head -n 1); \
	$(TRUDI) play --checkpoint "$$run" --sampler ode --episodes 10; \
	$(TRUDI) export --checkpoint "$$run"; \
	$(TRUDI) plot "$$run"; \
	echo; \
	echo "Run folder: $$run"; \
	echo "All files:"; \
	find "$$run" -type f | sort -V | sed 's/^/  /'; \
	echo; \
	echo "Next: source $(VENV)/bin/activate"; \
	echo "      trudi tasks"; \
	echo "      trudi doctor $$run"; \
	echo "      tensorboard --logdir $(RUNS)"

benchmark: $(STAMP)  ## Measure what docs/results.md shows (hours; continues where it was interrupted)
	$(PY) benchmarks/throughput.py
	$(PY) benchmarks/options.py
	$(PY) benchmarks/speed.py --threads 1 2
	$(PY) benchmarks/scaling.py
	$(PY) benchmarks/deployment.py --tables latency sim_to_sim
	$(PY) benchmarks/deployment.py --tables exported --tasks HalfCheetah-v5 PlanarObstacle-v0
	$(PY) benchmarks/learning.py
	$(PY) benchmarks/robustness.py --tables soak resume long_run
	$(PY) benchmarks/cost_model.py
	$(PY) benchmarks/report.py

test: lint  ## Lint, then the tests: the core, RSL-RL's contract on other versions of rsl-rl-lib, the hosts
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadfile --durations 15
	$(PY) -m nox --session core rsl_rl_suite
	$(PY) -m nox --session dm_control
	$(PY) -m nox --session hosts

test-hosts: $(STAMP)  ## The tests with real Isaac Lab and mjlab, each in an environment of its own
	$(PY) -m nox --session hosts

test-nightly: $(STAMP)  ## All tests, also those that repeat a claim on further tasks, algorithms and versions
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadfile --nightly
	$(PY) -m nox --session core rsl_rl_suite hosts -- --nightly

test-fast: $(STAMP)  ## The tests that take seconds
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadfile -m "not slow"

lint: $(STAMP)  ## ruff, pyright, import-linter and hadolint
	$(VENV)/bin/hadolint docker/*.Dockerfile
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m pyright --pythonpath $(PY)
	$(VENV)/bin/lint-imports --no-cache

format: $(STAMP)  ## Let ruff format the code and mend what it can
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

clean:  ## Remove the environment, caches and builds; runs under logs/ stay
	rm -rf .venv .nox build dist source/*.egg-info .pytest_cache .ruff_cache .hypothesis
	find source scripts tests benchmarks configs -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Names what `install` would install, for caches.
env-key:
	@echo $(ENV_KEY)

$(PY):
	@for candidate in $(PYTHON_CANDIDATES); do \
	  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$("$$candidate" --version)."; \
	    exec "$$candidate" -m venv $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11 or newer with the venv module among: $(PYTHON_CANDIDATES)." >&2; \
	echo "Install one (Debian and Ubuntu: python3 and python3-venv), or name yours: make $(MAKECMDGOALS) PYTHON_CANDIDATES=/path/to/python3" >&2; \
	exit 1

$(STAMP): | $(PY)
	@echo "Installing torch (1 to 5 minutes: the CPU build is 0.2 GB, the CUDA build several GB)."
	@$(PIP_INSTALL) torch
	@echo "Installing trudi_rsl, RSL-RL, Gymnasium with MuJoCo, and the tools (1 to 2 minutes)."
	@$(PIP_INSTALL) --editable '.[all,dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@
