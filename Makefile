# `make run` and `make test` need Python 3.11 or newer and nothing else: each
# sets up the virtual environment that it uses.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := $(VENV)/.peers
LINKS  := .links/event_router/client

.DEFAULT_GOAL := help
.PHONY: help run test check format types lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: $(STAMP) ## the whole router with a demo, in the terminal; Ctrl-C stops it
	@$(BIN)/router up --demo

test: $(STAMP) $(PEERS) ## every test, the live ones on the services that are found
	@$(BIN)/python -m tests.services
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) $(LINKS) ## format, lint, types and layering
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary -p event_router
	@$(BIN)/mypy --no-error-summary tests benchmarks
	@PYTHONPATH=.links $(BIN)/lint-imports --no-cache >.links/import-linter.txt || (cat .links/import-linter.txt; exit 1)
	@echo "check: format, lint, types and layering are in order"

format: $(STAMP) ## format the code and mend what lint can mend
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

lock: ## pin what the image is made of, with hashes (needs uv)
	@echo 'setuptools>=77' | uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	  --extra server --extra sinks --extra s3 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --output-file requirements.lock pyproject.toml -
	@echo "lock: $$(grep -c == requirements.lock) distributions in requirements.lock"

clean: ## remove what the targets made
	rm -rf $(VENV) .links build *.egg-info

# One stamp per pyproject.toml: changed dependencies are installed at the next call.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.12 …" % sys.version_info[:2])'
	@echo "setting up $(VENV) (a minute or two, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@# The versions of the lock, without which pip looks for some that fit for half an hour.
	@sed -n 's/^\([A-Za-z0-9._-]*==[^ ;\\]*\).*/\1/p' requirements.lock >$(VENV)/constraints.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	  --constraint $(VENV)/constraints.txt --editable '.[embedded,sinks]' --group dev 2>&1 \
	  | tee $(VENV)/install.txt \
	  | while read -r doing _; do case $$doing in \
	      Collecting | Obtaining) printf . ;; \
	      Installing) printf ' installing' ;; \
	    esac; done; echo
	@# What a `pip install .` has left hides newer types of destinations from `python -m`.
	@rm -rf event_router.egg-info
	@$(BIN)/python -c 'import event_router.router.cli' || (cat $(VENV)/install.txt; exit 1)
	@touch $(STAMP)

# Compiled: needs a C compiler, Python's headers and those of OpenSSL.
$(PEERS): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group peers
	@touch $(PEERS)

# mypy and import-linter look for the package as a folder; the tree has three, and the client's
# is a part of the router's.
$(LINKS):
	@mkdir -p $(@D)
	@for part in router consumers schemas; do ln -sfn ../../$$part $(@D)/$$part; done
	@ln -sfn ../../router/client $@
