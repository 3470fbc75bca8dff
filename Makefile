# Start with make serve and make test; make help lists all targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# TensorFlow has wheels for Python 3.11 to 3.13; the first one on the PATH is used.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
HOST ?= 127.0.0.1
PORT ?= 8000
DATA ?=
# Further options of pip-audit, e.g. AUDIT_FLAGS="--vulnerability-service osv".
AUDIT_FLAGS ?=
# Test processes. Each one that trains imports TensorFlow, so more than a few are not faster.
JOBS ?= auto --maxprocesses 4
# Target of `make image`, and the container engine; DOCKER=podman works as well.
TARGET ?= cpu
DOCKER ?= docker
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' churn/__init__.py)
REVISION := $(or $(shell git rev-parse --short HEAD 2>/dev/null),unknown)
COMPOSE ?= $(DOCKER) compose
COMPOSE_KEYS = $(COMPOSE) run --rm --no-deps -T --entrypoint churn keys keys
# Name and scopes of `make key`: predict, metrics, admin, records.
NAME ?=
SCOPE ?= predict

SERVE := .venv/serve
DEV := .venv/dev
SUPPLY := .venv/supply
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: help serve setup test test-fast test-deploy test-containers train image base-images up key down lint \
    format lock sbom audit openapi docs fuzz clean

help: ## list all targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(SERVE)/.ready ## serve models/current on 127.0.0.1:8000 (PORT=, HOST=)
	$(SERVE)/bin/churn serve --host $(HOST) --port $(PORT)

setup: $(DEV)/.ready ## install everything for development

test: $(DEV)/.ready ## run every test on all CPUs, with coverage
	$(if $(shell $(DEV)/bin/python -c 'import pyspark' 2>/dev/null && echo yes),SPARK_OMIT=none) \
	$(DEV)/bin/pytest --cov --numprocesses $(JOBS) --dist loadfile

test-fast: $(DEV)/.ready ## run the tests that need no training
	$(DEV)/bin/pytest -m "not slow"

test-deploy: $(DEV)/.ready ## check and simulate the Prometheus rules (needs promtool), and test monitoring
	promtool check rules deploy/prometheus/rules/*.yml
	promtool test rules deploy/prometheus/tests/*.yml
	$(DEV)/bin/pytest tests/deploy

test-containers: $(DEV)/.ready ## build the images and test them in containers (needs docker or podman; minutes)
	DOCKER="$(DOCKER)" COMPOSE="$(COMPOSE)" $(DEV)/bin/pytest -m containers tests/containers

train: $(DEV)/.ready ## train the next version on DATA=table.csv
	@test -n "$(DATA)" || { echo "make: give a table: make train DATA=customers.csv" >&2; exit 1; }
	$(DEV)/bin/churn train "$(DATA)"

image: ## build the image churn:cpu (TARGET=cpu, batch, train or gpu; DOCKER=podman)
	$(DOCKER) build $(if $(findstring podman,$(DOCKER)),--format docker) --target $(TARGET) --tag churn:$(TARGET) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

base-images: ## pin the base images by the digests that their tags have now (needs docker and the registry)
	$(PYTHON) deploy/supply/pin_images.py $(DOCKER)

up: ## start the service, Prometheus and Grafana in containers, on 127.0.0.1:8000, 9090 and 3000; prints a first key
	VERSION=$(VERSION) REVISION=$(REVISION) $(COMPOSE) up --build --detach --wait
	@$(COMPOSE_KEYS) create --if-absent --name first --scope predict

key: ## create an API key of the service in containers: make key NAME=crm SCOPE=predict
	@test -n "$(NAME)" || { echo "make: give a name: make key NAME=crm SCOPE=predict" >&2; exit 1; }
	@$(COMPOSE_KEYS) create --name "$(NAME)" $(foreach s,$(SCOPE),--scope $(s))

down: ## stop them; the data of Prometheus and Grafana is kept
	$(COMPOSE) down

# What bandit rates as low is what ruff's rules S find, too; each exemption from those states its reason.
lint: $(DEV)/.ready ## ruff, mypy --strict and bandit
	$(DEV)/bin/ruff check
	$(DEV)/bin/ruff format --check
	$(DEV)/bin/mypy
	$(DEV)/bin/mypy --config-file tests/mypy.ini
	$(DEV)/bin/bandit --quiet --configfile pyproject.toml --severity-level medium --recursive churn records training service batch cli

format: $(DEV)/.ready ## format the code with ruff
	$(DEV)/bin/ruff check --fix
	$(DEV)/bin/ruff format

lock: $(DEV)/.ready ## regenerate requirements/*.txt (names, versions and hashes)
	cd requirements && UV="$(CURDIR)/$(DEV)/bin/uv" ./lock

sbom: $(SUPPLY)/.ready ## write bills of materials (CycloneDX) of the locked requirements to build/sbom
	mkdir -p build/sbom
	for file in requirements/*.txt; do \
	    PYTHONWARNINGS=ignore $(SUPPLY)/bin/cyclonedx-py requirements --short-PURLs --output-reproducible --of JSON \
	        --pyproject pyproject.toml --output-file build/sbom/$$(basename $$file .txt).cdx.json $$file || exit 1; \
	done

audit: $(SUPPLY)/.ready ## look up all locked packages in a database of vulnerabilities; fails if one can't be (AUDIT_FLAGS=)
	$(SUPPLY)/bin/python deploy/supply/audit.py $(SUPPLY)/bin/pip-audit $(AUDIT_FLAGS)

openapi: $(DEV)/.ready ## regenerate docs/openapi.json
	$(DEV)/bin/python -m service.openapi_file models docs/openapi.json

fuzz: $(DEV)/.ready ## search for costly inputs for a few minutes (INPUTS=5000 and SECONDS=30 of each media type)
	$(DEV)/bin/python benchmarks/costliest.py --inputs $(or $(INPUTS),5000) --seconds $(or $(SECONDS),30)

docs: openapi ## regenerate docs/openapi.json, docs/cli.md and the table in docs/configuration.md
	$(DEV)/bin/python -m cli.reference docs

clean: ## remove the virtual environments and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .coverage .hypothesis

$(SERVE)/.ready: requirements/serve.txt pyproject.toml
	$(call install,$(SERVE),requirements/serve.txt)

$(DEV)/.ready: requirements/dev.txt pyproject.toml
	$(call install,$(DEV),requirements/dev.txt)

# Tools that examine the locked requirements; not part of them, so they need no installation of this package.
$(SUPPLY)/.ready: requirements/supply.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer on the PATH (choose one: make PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(SUPPLY)
	@$(SUPPLY)/bin/python -m pip install $(PIP_FLAGS) --require-hashes --no-deps -r $<
	@touch $@

# $(1) environment, $(2) locked requirements. The marker is written last, so that an interrupted install is repeated.
define install
@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer on the PATH (choose one: make PYTHON=...)" >&2; exit 1; }
@echo "setting up $(1) from $(2) with $(PYTHON)"
@$(PYTHON) -m venv --clear $(1)
@$(1)/bin/python -m pip install $(PIP_FLAGS) --require-hashes --no-deps -r $(2)
@$(1)/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
@touch $@
endef
