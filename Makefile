# npusim: `make demo` installs and runs the main job, `make test` installs the test extra and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test

.PHONY: demo test slow check validate bench clean

demo: $(DEMO_STAMP)
	$(BIN)/npusim run

test: $(TEST_STAMP)
	$(BIN)/python -m pytest -n 2 -q -m "not slow and not browser"

slow: $(TEST_STAMP)
	$(BIN)/python -m pytest -q -m "slow or browser"

check: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy npusim

validate: $(DEMO_STAMP)
	$(BIN)/npusim validate --full

bench: $(TEST_STAMP)
	$(BIN)/python -m pytest benchmarks -q

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "npusim needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
	       "try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(DEMO_STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(TEST_STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(DEMO_STAMP)
