PYTHON ?= python3
VENV ?= .venv
PORT ?= 8888
BROWSER ?= yes
TORCH_INDEX ?=
TEACH ?= no
USERS ?= 0
BIND ?= 127.0.0.1
CLASS_PORT ?= 8000
PROXY := deploy/proxy/node_modules/.package-lock.json
CLASS_OPTIONS = --bind=$(BIND) --port=$(CLASS_PORT) $(if $(DOMAIN),--domain=$(DOMAIN)) $(if $(CERT),--cert=$(CERT)) \
    $(if $(KEY),--key=$(KEY)) $(if $(BEHIND_TLS),--behind-tls=$(BEHIND_TLS)) $(if $(filter yes,$(PROGRESS)),--progress)
CLASS_DOES = $(if $(filter yes,$(STATUS)),--status,$(if $(STOP),--stop=$(STOP),$(if $(NEW_KEY),--new-key=$(NEW_KEY),$(if \
    $(filter yes,$(REMOVE)),--remove,--users=$(USERS) $(CLASS_OPTIONS)))))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
LESSON := notebooks/00_start_here.ipynb

TORCH ?=
OTHER := $(if $(TORCH),$(VENV)-torch-$(TORCH))

.PHONY: lab check test notebooks bench refresh site slides recap class check-python
.DEFAULT_GOAL := lab

lab: $(VENV)/.lab $(if $(filter yes,$(TEACH)),$(VENV)/.teach)
	find notebooks -name '*.ipynb' -not -path '*/.*' -exec $(BIN)/jupyter trust {} +
	$(BIN)/jupyter lab --allow-root --port=$(PORT) $(if $(filter no,$(BROWSER)),--no-browser) $(LAB_FLAGS) $(LESSON)

check: $(VENV)/.dev
	$(BIN)/python tests/run.py quick

test: $(VENV)/.dev $(if $(shell command -v npm),$(PROXY))
	$(BIN)/python tests/run.py

notebooks: $(if $(TORCH),$(OTHER)/.notebooks,$(VENV)/.dev)
	$(if $(TORCH),$(OTHER),$(VENV))/bin/python tests/run.py notebooks

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

refresh: $(VENV)/.dev
	$(BIN)/python tests/notebooks/refresh.py

site slides recap: $(VENV)/.dev
	$(BIN)/python -m publish $@

class: $(VENV)/.class $(PROXY)
	@$(BIN)/python deploy/classroom.py $(CLASS_DOES) $(CLASS_FLAGS)

check-python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "$(PYTHON) is missing. Install Python 3.11 or newer, or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11. Install Python 3.11 or newer, or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.lab: requirements.txt pyproject.toml deploy/jupyter_server_config.py | check-python
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install $(INDEX) -r requirements.txt
	$(PIP) install --no-deps --editable .
	mkdir -p $(VENV)/etc/jupyter
	cp deploy/jupyter_server_config.py $(VENV)/etc/jupyter/
	touch $@

$(VENV)/.teach: requirements-teach.txt $(wildcard deploy/rise/*.json deploy/rise/static/*) $(VENV)/.lab
	$(PIP) install $(INDEX) -r requirements-teach.txt
	mkdir -p $(VENV)/share/jupyter/labextensions/rise-widgets
	cp -R deploy/rise/. $(VENV)/share/jupyter/labextensions/rise-widgets/
	touch $@

$(VENV)/.class: requirements-class.txt $(VENV)/.lab
	$(PIP) install $(INDEX) -r requirements-class.txt
	touch $@

$(PROXY): deploy/proxy/package.json deploy/proxy/package-lock.json
	@command -v npm >/dev/null 2>&1 || { echo "npm is missing: the class's proxy is a program for Node.js 18 or newer. On Debian or Ubuntu: apt install npm" >&2; exit 1; }
	npm ci --prefix deploy/proxy --no-audit --no-fund
	touch $@

$(VENV)/.dev: requirements-dev.txt requirements-class.txt $(VENV)/.teach
	$(PIP) install $(INDEX) -r requirements-dev.txt
	touch $@

ifneq ($(TORCH),)
$(OTHER)/requirements.txt: requirements.txt requirements-dev.txt
	mkdir -p $(@D)
	{ sed 's/^torch==.*/torch==$(TORCH)/' requirements.txt; grep -E '^pytest(-xdist)?==' requirements-dev.txt; } > $@

$(OTHER)/.notebooks: $(OTHER)/requirements.txt pyproject.toml | check-python
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install $(INDEX) -r $(@D)/requirements.txt
	$(@D)/bin/python -m pip --disable-pip-version-check install --no-deps --editable .
	touch $@
endif
