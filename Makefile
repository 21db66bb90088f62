# make run   trade the bundled recording on the embedded paper exchange, and print the report
# make test  every check: format, lint, types, tests, full coverage of the core
# make soak  trade under simulated faults and crashes, SOAK_SEC=600 seconds from SEED=1 on
# Both set up what they need in .venv on first use; nothing is installed outside this folder.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Wheels only, by hash, exactly what the lock lists: what was tested is what is installed, and no build script runs.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
LOCKED := $(PIP_INSTALL) --require-hashes --no-deps --only-binary :all: -r
# On all processors; pip uses one. What some packages bring and no Python reads is passed over, as pip does.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first interpreter that really runs and is new enough; `make PYTHON=...` chooses another.
$(BIN)/python:
	@python=; for name in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python; do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "Executor needs Python 3.11 or newer, and none was found. Install it, or name it: make PYTHON=/path/to/python" >&2; \
		exit 1; fi; \
	echo "Setting up $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$$python cannot create a virtual environment; on Debian and Ubuntu install the package python3-venv." >&2; \
		exit 1; }

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing locked dependencies"
	@$(LOCKED) requirements.lock
	@$(COMPILE)
	@$(PIP_INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.test: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing locked dependencies and development tools"
	@$(LOCKED) requirements-dev.lock
	@$(COMPILE)
	@$(PIP_INSTALL) --no-build-isolation --no-deps -e .
	@touch $(VENV)/.run $@

.PHONY: run
run: $(VENV)/.run ## trade the bundled recording on the embedded paper exchange
	@BINANCE_ENV=paper $(BIN)/executor --env-file config/paper.env run

# The modules of the tests are compiled once, beside the type check, not by each worker at the same time.
.PHONY: test
test: $(VENV)/.test ## every check
	@$(MAKE) --no-print-directory --output-sync=target -j 2 lint types etcd compiled core
	$(BIN)/pytest -n 4 --dist worksteal --ignore tests/core

.PHONY: core
core: $(VENV)/.test compiled # beside the type check, which is over long before a single process had run them
	@$(BIN)/pytest tests/core -q -n 2 --dist worksteal --cov=executor.core --cov-branch --cov-fail-under=100

# As many simulated trades as fit into SOAK_SEC, from SEED on; a violation prints its plan, shrunk, and how to replay it.
SOAK_SEC ?= 600
SEED ?= 1
KILLS ?= 300

.PHONY: soak
soak: $(VENV)/.test ## trade under simulated faults and crashes for SOAK_SEC seconds, from SEED on
	$(BIN)/python -m tests.sim.run --soak $(SOAK_SEC) --seed $(SEED) --processes 2

.PHONY: soak-fast
soak-fast: $(VENV)/.test ## as soak, with the core compiled (minutes, and a C compiler): a fifth more trades, for long ones
	$(BIN)/python -m tools.compiled_core
	cd build/compiled-core && PYTHONPATH=src:. $(CURDIR)/$(BIN)/python -m tests.sim.run --soak $(SOAK_SEC) --seed $(SEED) --processes 2

.PHONY: soak-many
soak-many: $(VENV)/.test ## as soak, with two or three symbols on one account, Spot or cross, that share a quote or a base
	$(BIN)/python -m tests.sim.many.run --margin --soak $(SOAK_SEC) --seed $(SEED) --processes 2

.PHONY: soak-fleet
soak-fleet: $(VENV)/.test ## the same with a fleet: 2 to 4 nodes on a simulated etcd, its faults at every step
	$(BIN)/python -m tests.sim.fleet.run --soak $(SOAK_SEC) --seed $(SEED) --processes 2

.PHONY: soak-wire
soak-wire: $(VENV)/.test ## kill the real daemon KILLS=300 times while it trades over sockets, by SEED
	$(BIN)/python -m tests.crash.soak --kills $(KILLS) --seed $(SEED)

.PHONY: soak-wire-margin
soak-wire-margin: $(VENV)/.test ## the same on borrowed money: an isolated account, then a cross one
	$(BIN)/python -m tests.crash.soak --kills $(KILLS) --seed $(SEED) --margin isolated
	$(BIN)/python -m tests.crash.soak --kills $(KILLS) --seed $(SEED) --margin cross

RUNS ?= 10

TRADES ?= 10000

.PHONY: quiet
quiet: $(VENV)/.test ## trade without any fault, TRADES=10000 times from SEED on, and let the watchdog find nothing in it
	$(BIN)/python -m tests.ops.watchdog.quiet --trades $(TRADES) --seed $(SEED)

.PHONY: stranger
stranger: $(VENV)/.test ## trade with the real daemon on an exchange that shares no code with ours, RUNS drawn ones, from SEED on
	$(BIN)/python -m tests.stranger.run --runs $(RUNS) --seed $(SEED) --trades 8 --kills 3

.PHONY: crashes
crashes: $(VENV)/.test ## stop the machine everywhere, and everywhere twice, in every scripted trade (about half an hour)
	$(BIN)/python -m tests.crash.enumeration --processes 2

.PHONY: mutants
mutants: $(VENV)/.test ## check that the simulation finds deliberate bugs, one after the other
	$(BIN)/python -m tests.sim.mutants

.PHONY: bench
bench: $(VENV)/.test ## measure speed and cost on this machine, against the paper exchange (about an hour)
	$(BIN)/python -m bench

.PHONY: bench-quick
bench-quick: $(VENV)/.test ## the same with a tenth of the entries
	$(BIN)/python -m bench --quick

.PHONY: bench-paper
bench-paper: $(VENV)/.test ## requests and recorded trades a second of the paper exchange; TREE=NAME=FOLDER: beside another checkout's
	$(BIN)/python -m bench.paper_rate $(if $(TREE),--tree $(TREE))

MINUTES ?= 60

.PHONY: bench-loop
bench-loop: $(VENV)/.test ## memory, files and journal of a looped recording at speed 150, for MINUTES=60
	$(BIN)/python -m bench.looped --minutes $(MINUTES)

# The machine's own, or ETCD=/path/to/etcd, or Debian's package unpacked in .venv; where there is none, it says so.
export ETCD

.PHONY: etcd
etcd: $(VENV)/.test
	@$(BIN)/python -m tools.etcd

.PHONY: fleet
fleet: $(VENV)/.test etcd ## show a trade outlive the machine that opened it: three nodes, etcd, a paper exchange (half a minute)
	@$(BIN)/python -m tests.fleet.demo

ROUNDS ?= 100
BESIDE ?= 1

.PHONY: fleet-soak
fleet-soak: $(VENV)/.test etcd ## kill, suspend and cut off the nodes and etcd for ROUNDS=100 rounds of trades, by SEED, in BESIDE=1 worlds at a time
	$(BIN)/python -m tests.fleet.soak --rounds $(ROUNDS) --seed $(SEED) --beside $(BESIDE)

.PHONY: image-test
image-test: $(VENV)/.test ## build the container image and run it for real (root, podman; says what is missing)
	$(BIN)/python -m tests.deploy.image

.PHONY: unit-test
unit-test: $(VENV)/.test ## run the systemd unit under a real systemd in a container (root, podman, systemd-nspawn)
	$(BIN)/python -m tests.deploy.image.unit

.PHONY: page-test
page-test: $(VENV)/.test ## look at the live page and at reports in headless Chromium, and take their pictures
	PAGE_PICTURES=docs/pictures $(BIN)/pytest -q tests/page/in_browser.py tests/page/reports_in_browser.py

.PHONY: lint
lint: $(VENV)/.test ## format and lint checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: types
types: $(VENV)/.test ## strict type check
	$(BIN)/mypy

# Whatever the environment says of it: each process that a test starts would compile the whole program anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: compiled
compiled: $(VENV)/.test
	@$(BIN)/pytest -qq -n 0 --collect-only >$(VENV)/collected.txt || { cat $(VENV)/collected.txt; exit 1; }

.PHONY: format
format: $(VENV)/.test ## format, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is made from the source: .env.example, docs/settings.md, what stands between markers in README.md and docs/.
.PHONY: docs
docs: $(VENV)/.run ## write the documents that are made from the source (settings' tables, .env.example, pictures)
	@$(BIN)/python -m tools.documents

.PHONY: lock
lock: $(VENV)/.test ## resolve the newest versions within pyproject.toml's ranges into the lock files
	$(UV_COMPILE) --upgrade pyproject.toml --group build -o requirements.lock
	$(UV_COMPILE) --upgrade --group pictures -c requirements.lock -o requirements-pictures.lock
	$(UV_COMPILE) --upgrade pyproject.toml --group build --group dev -c requirements.lock -c requirements-pictures.lock \
		-o requirements-dev.lock

.PHONY: clean
clean: ## remove what was built or installed here; state and signals in data/ stay
	rm -rf $(VENV) build dist src/*.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
