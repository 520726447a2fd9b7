# Everything a fresh machine needs is Python (3.10 or newer), make and this file.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv takes local wheels from UV_FIND_LINKS alone: pass on the setting of pip.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_PYTHON_DOWNLOADS := never
# More than one thread slows small networks, and several runs share the machine.
export OMP_NUM_THREADS ?= 1
export MUJOCO_GL ?= egl

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow regression test-matrix release-check audit coverage mutants fuzz docs check format speed clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# uv is taken from the path; where it is missing, from a small environment of its own (so that an
# externally managed pip is no obstacle).
setup: $(VENV)/.complete ## make .venv with every extra but trackio

$(VENV)/.complete: pyproject.toml
	@set -e; uv=$$(command -v uv || true); \
	if [ -z "$$uv" ]; then \
	  if [ ! -x .uv/bin/uv ]; then \
	    $(PYTHON) -m venv .uv || { echo "make: $(PYTHON) -m venv failed: install Python's venv module (Debian: python3-venv)"; exit 1; }; \
	    .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5.3'; \
	  fi; uv=.uv/bin/uv; \
	fi; \
	"$$uv" sync --quiet --all-extras --no-extra trackio --python "$(PYTHON)"
	@touch $@

demo: setup ## the main job in a few minutes: train, evaluate, compare, draw
	$(BIN)/sb3-course demo

test: setup ## the fast tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: setup ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

regression: setup ## do longer runs still learn what the stored ones did? (minutes)
	$(BIN)/sb3-course regression benchmarks/regression/inverted_pendulum_long.yaml --seeds 12
	$(BIN)/sb3-course regression benchmarks/regression/mujoco.yaml --seeds 5

test-matrix: setup ## the fast tests on every supported Python, oldest and newest SB3 and Gymnasium, and the wheel
	PATH="$(CURDIR)/.uv/bin:$$PATH" $(BIN)/nox

release-check: setup ## wheel and sdist in dist/: built, checked, compared with git
	PATH="$(CURDIR)/.uv/bin:$$PATH" $(BIN)/nox -s release

audit: setup ## known vulnerabilities in what the wheel brings, and an SBOM: dist/sbom.cdx.json
	PATH="$(CURDIR)/.uv/bin:$$PATH" $(BIN)/nox -s audit

coverage: setup ## the fast tests, with the lines and branches that they reach
	$(BIN)/python -m pytest -n 2 -m "not slow" --cov --cov-report=term-missing:skip-covered

mutants: setup ## do the tests of the estimators notice a change of any operator or number?
	$(BIN)/mutmut run --max-children 2 && $(BIN)/mutmut results

fuzz: setup ## damaged and hostile files, for about ten minutes
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-5000} $(BIN)/python -m pytest tests/fuzz -n 2

docs: setup ## the site: docs/_build/html/index.html; a warning is an error
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

check: setup ## ruff, format, mypy, the direction of imports, docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pydoclint sb3_course

format: setup ## fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

speed: setup ## every class beside its peers and its bound, into results/speed (25 minutes)
	$(BIN)/python benchmarks/speed/table.py

clean: ## remove the environment and the caches
	rm -rf $(VENV) .uv .peers .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage mutants docs/_build docs/_generated uv.lock
