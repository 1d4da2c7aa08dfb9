# Shortcuts. Everything here is one line that can be typed by hand; `make help` lists them.
# Only relative paths, so that the clone may lie in a folder whose name holds spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
COVERAGE ?=
SGLANG := .bench/sglang-router

# An environment is current when its stamp is newer than what it was made from, holds the folder
# it was made in (scripts in an environment name it), and its Python still runs.
usable = $(shell [ "`cat $(1)/.made-in 2>/dev/null`" = "$(CURDIR)" ] && $(1)/bin/python -c 'print("yes")' 2>/dev/null)
ifneq ($(call usable,$(VENV)),yes)
$(VENV)/.runtime $(VENV)/.dev: again
endif
ifneq ($(call usable,$(SGLANG)),yes)
$(SGLANG)/.made: again
endif

.PHONY: help install compile up test test-compiled test-vllm coverage check format lock bench clean again

help:  ## this list
	@printf 'make TARGET [ARGS="…"]\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.runtime $(VENV)/.compiled  ## the environment alone, into .venv, so that .venv/bin/flm works

compile: $(VENV)/.runtime  ## compile the gateway, where there is a C compiler; install does so too
	@$(PY) scripts/compile.py
	@touch $(VENV)/.compiled

up: install  ## install, then `flm up --demo`; ARGS="--port 9000" adds flags
	@exec $(VENV)/bin/flm up --demo $(ARGS)

test: $(VENV)/.dev  ## the tests; ARGS="tests/gateway -x" chooses; COVERAGE=1 counts lines
ifeq ($(COVERAGE),)
	@$(PY) scripts/tests.py $(ARGS)
else
	rm -f .coverage .coverage.*
	$(PY) -m coverage run -m pytest $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --skip-covered --sort=cover --fail-under=90
endif

test-compiled: $(VENV)/.dev compile  ## the gateway's tests with the compiled gateway
	@FLM_TEST_COMPILED=1 $(PY) scripts/tests.py $(ARGS)

test-vllm: $(VENV)/.dev  ## the contract with a running vLLM: FLM_TEST_VLLM_URL=http://127.0.0.1:8000
	@[ -n "$$FLM_TEST_VLLM_URL" ] || { echo 'set FLM_TEST_VLLM_URL to the URL of a running vLLM'; exit 2; }
	$(PY) -m pytest tests/engines/contract -k real-vllm $(ARGS)

coverage:  ## the tests with line coverage, subprocesses included; fails under 90 %
	@$(MAKE) --no-print-directory test COVERAGE=1

check: $(VENV)/.dev  ## lint, format, types on three platforms, import rules, catalogues
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --platform linux
	$(PY) -m mypy --platform darwin
	$(PY) -m mypy --platform win32
	$(VENV)/bin/lint-imports
	$(PY) -m flm.locales.catalogues --check
	$(PY) -m flm.cli.docs --check

format: $(VENV)/.dev  ## mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: install $(SGLANG)/.made  ## measure against nginx and a native router; see docs/performance.md
	@$(PY) -m bench $(ARGS)

COMPILE = $(VENV)/.uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: $(VENV)/.runtime  ## make the lock files again; ARGS="--upgrade" takes newer versions
	$(COMPILE) $(ARGS) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) $(ARGS) requirements/build.in -o requirements/build.txt
	$(COMPILE) $(ARGS) requirements/compile.in -o requirements/compile.txt
	$(COMPILE) $(ARGS) requirements/sglang-router.in -o requirements/sglang-router.txt
	$(COMPILE) $(ARGS) --extra embedded pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(ARGS) --extra embedded --group dev pyproject.toml -o requirements/dev.txt

clean:  ## remove what the targets above made, .venv included
	rm -rf $(VENV) .bench .clients .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

SOURCES := scripts/environment requirements/uv.txt requirements/build.txt pyproject.toml

$(VENV)/.runtime: requirements/runtime.txt $(SOURCES)
	@scripts/environment $(VENV) requirements/runtime.txt
	@printf '%s' "$(CURDIR)" > $(VENV)/.made-in
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(SOURCES)
	@scripts/environment $(VENV) requirements/dev.txt
	@printf '%s' "$(CURDIR)" > $(VENV)/.made-in
	@touch $@ $(VENV)/.runtime

# The gateway's busiest modules as machine code (flm/compiled.py), again when a source has changed.
# Touched also when nothing could be compiled: that is said once, and `make compile` tries again.
COMPILED_FROM := $(addprefix src/flm/,dialects domain errors.py gateway ports tasks.py wire)
$(VENV)/.compiled: $(VENV)/.runtime requirements/compile.txt scripts/compile.py scripts/extensions.py \
		src/flm/compiled.py $(shell find $(COMPILED_FROM) -name '*.py')
	@$(PY) scripts/compile.py
	@touch $@

# SGLang's router, from PyPI, in an environment of its own: only the bench uses it.
$(SGLANG)/.made: requirements/sglang-router.txt $(VENV)/.runtime
	@echo "Installing SGLang's router into $(SGLANG)" >&2
	@$(VENV)/.uv/bin/uv venv --quiet --allow-existing --no-project --python $(PY) $(SGLANG)
	@$(VENV)/.uv/bin/uv pip install --quiet --python $(SGLANG)/bin/python --require-hashes -r requirements/sglang-router.txt
	@printf '%s' "$(CURDIR)" > $(SGLANG)/.made-in
	@touch $@
