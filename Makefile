# Two commands: `make run` and `make test`. Both need Python 3.11+ and make, nothing else.
PYTHON ?= python3
PORT ?= 8000
PROCESSES ?= 1
BIN := .venv/bin
# Empty, so off wherever it is on: dozens of processes are started, and each would compile the product again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test check browser bench bench-growth chaos mutants clean

run: .venv/run
	@exec $(BIN)/localbazaar up --port $(PORT) --processes $(PROCESSES) --with-parent

# What is timed needs the machine for itself: chaos comes when the others are done. Other seeds are for `make chaos`.
test: .venv/dev check
	$(BIN)/pytest -q -n 4 --dist worksteal
	$(BIN)/python -m chaos --minutes 2 --seed 11

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/localbazaar docs --check

# Needs Debian's packages chromium and chromium-driver besides.
browser: .venv/dev
	$(BIN)/pytest -q -o addopts= tests/browser

chaos: .venv/dev
	$(BIN)/python -m chaos $(CHAOS)

# All of them, or those that MUTANTS names: `make mutants MUTANTS='app.kernel.ledger.*'`.
mutants: .venv/dev
	@set -f; ulimit -v 8000000; export PATH="$(CURDIR)/$(BIN):$$PATH"; \
	nice python -m tests.support.shared_servers mutmut run --max-children 2 $(MUTANTS) && \
	mutmut results | sed '/caught by type check/d'

bench: .venv/dev
	$(BIN)/python -m bench

bench-growth: .venv/dev
	$(BIN)/python -m bench growth

.venv/run: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/run requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

clean:
	rm -rf .venv data artifacts mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis
