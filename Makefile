CACHE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/peitho
PYTHON = $(CACHE)/venv/bin/python
export PYTHONPATH = src
# Compiled modules are kept, beside the environment and not in the checkout.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX = $(CACHE)/bytecode
# Unit tests write a file or more each: into memory where Linux has a place for it.
# They wait, too: two processes more than there are cores.
PROCESSES = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))
MEMORY = $(if $(wildcard /dev/shm/.),TMPDIR=/dev/shm)

.PHONY: demo unit test check lint format bench fuzz release image docs lock cluster-down help

demo: setup ## build, install, launch, crash and remove a chaincode on a real Kubernetes (KEEP=1, IMAGE=)
	@$(PYTHON) -m tests.demo

unit: setup ## the tests that need no cluster (ARGS=-x, or any of pytest's)
	@$(MEMORY) $(PYTHON) -m pytest tests/unit --processes $(PROCESSES) $(ARGS)

# Most of a journey is waiting for Pods: two are told at the same time.
test: setup ## all tests, the real cluster included (ARGS=tests/journeys)
	@$(PYTHON) -m pytest --processes 2 $(ARGS)

check: lint docs test ## all that CI does

lint: setup ## style, types, layers
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy --no-error-summary
	@$(dir $(PYTHON))lint-imports --no-logo

format: setup ## let ruff mend what it can
	@$(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .

bench: setup ## docs/benchmarks.md measured anew, into ~/.cache/peitho/bench (ARGS=--help)
	@$(PYTHON) -m tests.bench $(ARGS)

fuzz: setup ## readers of what comes from outside, fed for SECONDS=60 with what coverage leads to
	@$(PYTHON) -m tests.fuzz $(or $(SECONDS),60)

image: setup ## Peitho's image, as a docker archive in the cache
	@$(PYTHON) -c "from tests.lab import images; print(images.peitho())"

docs: ## the pages as a site, in build/docs; a link that leads nowhere is an error
	@scripts/setup docs
	@$(CACHE)/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going -c docs . build/docs
	@echo "written to build/docs/index.html"

release: setup ## wheel, the image's layer, SBOMs, sums and notes, into build/release (ARGS=--key=FILE)
	@$(PYTHON) -m release $(ARGS)

lock: setup ## requirements*.lock from pyproject.toml
	@scripts/lock $(PYTHON)

cluster-down: setup ## end the Kubernetes that demo and test brought up
	@$(PYTHON) -m tests.lab.cluster down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup:
	@scripts/setup
