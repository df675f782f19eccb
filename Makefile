# Two commands do it all on a fresh Debian: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# Tests that run side by side; `JOBS=0` is one after the other, in one process.
JOBS ?= auto
export HF_HUB_OFFLINE := 1
# Compiled modules are half of a short command's start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo venv test lint types contracts check deep system editors clean

demo: $(VENV)/.base
	$(BIN)/avm demo

venv: $(VENV)/.full

test: $(VENV)/.full editors
	rm -f .coverage .coverage.*
	HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -n $(JOBS) --dist worksteal \
	  --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.full
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin

contracts: $(VENV)/.full
	$(BIN)/lint-imports

check: lint types contracts test demo

# The long runs: thousands of examples, kill loops.
deep: $(VENV)/.full editors
	HYPOTHESIS_PROFILE=deep AVM_TEST_DEEP=1 $(BIN)/python -m pytest --timeout=3600 $(ARGS)

$(VENV)/.base: pyproject.toml constraints.txt | system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -U pip
	$(PIP) install -c constraints.txt -e .
	$(BIN)/python -m compileall -q avm
	touch $@

# torch first and alone (constraints.txt says why).
$(VENV)/.full: $(VENV)/.base
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt -e '.[semantic]' --group dev
	touch $@

# What Debian must have. The package `fuse` would remove fuse3: it is not asked for.
system:
	@missing=""; \
	command -v git >/dev/null || missing="$$missing git"; \
	command -v fusermount3 >/dev/null || missing="$$missing fuse3"; \
	ldconfig -p 2>/dev/null | grep -q 'libfuse\.so\.2' || /sbin/ldconfig -p 2>/dev/null | grep -q 'libfuse\.so\.2' \
	  || missing="$$missing libfuse2"; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing:$$missing"; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then echo "please install:$$missing"; fi

# What the freshness matrix drives, and the benchmarks' rg (some 120 MB, most of it emacs). A row whose
# program is missing is skipped and says so.
editors:
	@missing=""; \
	for pair in vim:vim emacs:emacs-nox nano:nano rsync:rsync rg:ripgrep; do \
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	  echo "installing for tests:$$missing"; \
	  { $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq \
	    --no-install-recommends $$missing >/dev/null; } || echo "not installed:$$missing"; \
	elif [ -n "$$missing" ]; then echo "not installed, their tests are skipped:$$missing"; fi

clean:
	rm -rf $(VENV) dist build .coverage .coverage.* htmlcov .hypothesis
