# Short names for what `caravan` and pytest do. `make demo` and `make test` are all a new machine needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# a folder of wheels to prefer, where the machine names one (a CPU build of torch, say)
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),)

.PHONY: help install demo up down status test check lint drill soak bench screenshots lock clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(FIND_LINKS) -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/uv pip check --quiet --python $(BIN)/python
	touch $@

install: $(STAMP) ## Install everything into .venv

demo: $(STAMP) ## Two nights of a generated shop, a release on its way: make demo ARGS="--end 2025-01-01"
	$(BIN)/caravan demo $(ARGS)

up: $(STAMP) ## Start the embedded stack
	$(BIN)/caravan up

down: $(STAMP) ## Stop it
	$(BIN)/caravan down

status: $(STAMP) ## Show it
	$(BIN)/caravan status

test: $(STAMP) ## All tests, with small counts
	$(BIN)/python -m tests.side_by_side

check: $(STAMP) ## Style, types, architecture, docs and unit tests: what needs no stack and is not slow
	$(BIN)/python -m pytest -m "not (stack or airflow or slow)"

lint: $(STAMP) ## Only style, types and architecture
	$(BIN)/python -m pytest tests/test_style.py tests/test_architecture.py

drill: $(STAMP) ## Lose a whole region on a stack of its own, recover through the scheduler, show the page
	$(BIN)/python -m tests.scenarios.drill

soak: $(STAMP) ## Fault and fuzz tests up to any count, resumable: make soak ARGS="--count 1000"
	$(BIN)/python -m tests.faults.soak $(ARGS)

bench: $(STAMP) ## Every benchmark, as docs/benchmarks.md shows them
	$(BIN)/python -m tests.bench

screenshots: $(STAMP) ## Take the pictures in docs/images from the stack that `make demo` left (needs chromium)
	$(BIN)/python -m tests.browser.screenshots

# torch keeps no local build tag: the plain version is the CPU build where one is provided, the GPU build elsewhere
COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-find-links $(FIND_LINKS)
lock: $(STAMP) ## Pin what requirements.in and requirements-dev.in ask for
	sed -i '/^torch==/d' requirements.txt requirements-dev.txt
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-dev.in -c requirements.txt -o requirements-dev.txt
	sed -i 's/^torch==\([0-9.]*\)+.*/torch==\1/' requirements.txt requirements-dev.txt

clean: ## Stop the stack and delete its state
	-test -x $(BIN)/caravan && for home in .caravan .caravan/demo/homes/*/; do CARAVAN_HOME=$$home $(BIN)/caravan down; done
	rm -rf .caravan
