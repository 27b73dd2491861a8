# Needs GNU make 3.81 or newer, and Python 3.11 or newer with venv. Everything else is fetched by hash.

.DEFAULT_GOAL := help

# A `python3` may be a shim for a Python that is not installed, and some systems ship Python without venv: try it.
USABLE := import sys, ssl, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	if $$python -c '$(USABLE)' >/dev/null 2>&1; then echo $$python; break; fi; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
# A copy of the lock file that the environment was made from. It tells whether the environment is up to date.
VENV := .venv/requirements-dev.lock

PYTEST := $(BIN)/python -m pytest -q
WORKERS ?= --numprocesses 2 --dist worksteal
# Compiled tests are kept, whatever the user's habit: to read them anew takes longer than most of them.
unexport PYTHONDONTWRITEBYTECODE

UV := build/uv/bin/uv
SBOM_TOOL := build/cyclonedx/bin/cyclonedx-py
LOCK := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--extra anthropic --extra aws --extra google \
	--no-annotate --custom-compile-command "make lock" --quiet $(UPGRADE)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: compiled
compiled: $(VENV)
	@$(BIN)/python -m compileall -q protocol sidecar
	@$(BIN)/python packaging/wheel/tables.py
# What Python brings to install packages with is in no lock, years old, and not needed again.
	@if [ -e $(BIN)/pip ]; then $(BIN)/python -m pip uninstall -qq --yes pip setuptools; fi

.PHONY: run
run: compiled ## stream a recorded chat from the `replay` provider: no key, no network
	@{ printf '%s\n' \
		'{"id":1,"action":"initialize"}' \
		'{"id":2,"action":"stream_chat","provider":"replay","params":{"model":"anthropic_messages/text","messages":[{"role":"user","content":"Hello"}]}}' \
		'{"id":"compare","action":"compare","provider":"replay","params":{"models":["anthropic_messages/text","openai_chat/text"],"messages":[{"role":"user","content":"Hello"}],"choose":{"by":"first_valid"}}}' \
		'{"id":"hedge","action":"generate","provider":"replay","params":{"model":"anthropic_messages/thinking","messages":[{"role":"user","content":"Hello"}],"options":{"hedge":{"after_ms":0,"models":["replay/openai_chat/text"]}}}}' \
		'{"id":"route","action":"generate","params":{"model":"auto","messages":[{"role":"user","content":"Hello"}],"options":{"route":{"models":["replay/anthropic_messages/text","openai/gpt-6"]}}}}' \
		'{"id":"reuse","action":"compare","provider":"replay","params":{"models":["anthropic_messages/text","anthropic_messages/text"],"concurrency":1,"messages":[{"role":"user","content":"Hello"}],"options":{"reuse":{"scope":"try"}}}}' \
		'{"id":"files","action":"stream_chat","provider":"replay","params":{"model":"files","messages":[{"role":"user","content":"Let main.py greet by a function of its own file."}],"options":{"output":{"type":"files","existing":{"main.py":"import sys\n\nprint(\u0027Hello\u0027)\n"}}}}}' \
		'{"id":"task","action":"generate","provider":"replay","params":{"model":"anthropic_messages/review","task":"code_review","input":{"files":{"main.py":"import sys\n\nprint(\u0027Hello \u0027 + sys.argv[1])\n"}}}}' \
		'{"id":"fit","action":"fit","provider":"openai","params":{"model":"gpt-4","reserve_output":8165,"messages":[{"role":"user","content":"What is a sidecar?"},{"role":"assistant","content":"A small carriage beside a motorcycle."},{"role":"user","content":"And in software, what is a sidecar good for?"}]}}' \
		'{"id":"compact","action":"stream_chat","provider":"replay","params":{"model":"anthropic_messages/text","messages":[{"role":"user","content":"Hello   \n\n\n\nWhat is a sidecar?"}],"options":{"compact":true}}}' \
		'{"id":"embed","action":"embed","provider":"replay","params":{"model":"embeddings/usual_text","inputs":["def f(): ...","class A: ..."]}}' \
		'{"id":"rerank","action":"rerank","provider":"replay","params":{"model":"rerank/usual","query":"How is the area of a circle computed?","documents":["PI = 3.14159","def area(r): return PI * r * r","def circumference(r): return 2 * PI * r"]}}' \
		'{"id":"complete","action":"complete","provider":"replay","params":{"model":"completion","prefix":"def area(r):\n    return ","suffix":"\n\nprint(area(2))\n"}}' \
		'{"id":"edit","action":"apply_edit","params":{"text":"a = 1\nb = 2\n","edits":[{"search":"b = 2","replace":"b = 3"}]}}' \
		'{"id":"tools","action":"stream_chat","provider":"replay","params":{"model":"tool_call","messages":[{"role":"user","content":"What is the weather in Oslo?"}],"options":{"tools":[{"name":"weather","parameters":{"type":"object"}}],"tool_loop":{}}}}'; \
	sleep 2; printf '%s\n' '{"id":"result","action":"tool_result","params":{"id":"tools","results":[{"id":"toolu_01","content":"4 degrees, rain"}]}}'; \
	} | $(BIN)/sidecar

.PHONY: test
test: compiled ## run the tests, two at a time; ARGS="-k sse" selects some
	@$(PYTEST) $(WORKERS) $(ARGS)

.PHONY: fast
fast: compiled ## run some cases of the tests that start no process and read no recorded exchange, in a minute
	@$(PYTEST) $(WORKERS) --speed fast $(ARGS)

.PHONY: quick
quick: compiled ## run those of them that take no time, in a quarter of one
	@$(PYTEST) $(WORKERS) --speed quick $(ARGS)

.PHONY: check
check: $(VENV) ## check lint, formatting, types, and that what is generated from the structs is fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/python -m protocol.schema --check

.PHONY: fmt
fmt: $(VENV) ## format, and fix what the linter can fix
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: schema
schema: $(VENV) ## generate protocol/schema.json, methods.json and the types of the clients from the structs
	$(BIN)/python -m protocol.schema

.PHONY: bench
bench: compiled ## measure start-up, overhead and memory
	$(BIN)/python -m tests.bench

.PHONY: faults
faults: $(VENV) ## run the catalogue of faults and print the result of each case; ARGS="-m ''" includes slow ones
	@$(BIN)/python -m tests.e2e.faults $(ARGS)

.PHONY: peers
peers: $(VENV) ## test against a mock of the providers that others wrote; needs Node
	@$(BIN)/python -m tests.peers $(ARGS)

.PHONY: clients
clients: $(VENV) ## run every client whose language is here through the conformance kit, and the generators over the schema
	@$(BIN)/python -m tests.clients $(ARGS)

.PHONY: servers
servers: $(VENV) ## test against real gateways, proxies, login services and keychains, as far as they can be installed
	@$(BIN)/python -m tests.servers $(ARGS)

.PHONY: live
live: $(VENV) ## test against the real services that have a credential here; ARGS="groq mistral" selects some
	@$(BIN)/python -m tests.live $(ARGS)

.PHONY: lock
lock: $(UV) ## write the lock files from pyproject.toml; UPGRADE=--upgrade takes newer versions
	$(LOCK) --output-file requirements.lock
	$(LOCK) --output-file requirements-dev.lock --group dev --constraints requirements.lock
	$(subst --extra anthropic ,,$(LOCK)) --output-file requirements-bundle.lock --group bundle --constraints requirements.lock

.PHONY: audit
audit: $(VENV) $(SBOM_TOOL) ## check licences and hashes, write build/sbom.json, list what a wheel holds
	@$(SBOM_TOOL) requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--of JSON --output-file build/sbom.json 2>/dev/null
	@$(BIN)/python -m tests.audit build/sbom.json

.PHONY: dist
dist: $(VENV) ## build what users install, in dist/: wheel, folder, single file; test each in an empty environment
	$(BIN)/python packaging/bundle/build.py
	$(BIN)/python -m tests.dist

.PHONY: clean
clean: ## remove the environment and every cache
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find fixtures protocol sidecar tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV): requirements-dev.lock
	@if cmp -s requirements-dev.lock $@; then touch $@; exit; fi; \
	python='$(PYTHON)'; \
	if ! $$python -c '$(USABLE)' >/dev/null 2>&1; then \
		echo "make: no usable Python >= 3.11 with venv$${python:+ ($$python is not)}; name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Making .venv with $$($$python --version) from requirements-dev.lock ..." >&2; \
	$$python -m venv --clear .venv \
	&& $(PIP) --require-hashes --only-binary :all: --requirement requirements-dev.lock \
	&& $(PIP) --no-index --no-deps --no-build-isolation --editable . \
	&& cp requirements-dev.lock $@

$(SBOM_TOOL):
	$(PYTHON) -m venv --clear build/cyclonedx
	build/cyclonedx/bin/python -m pip --disable-pip-version-check install --quiet cyclonedx-bom==7.5.0

$(UV):
	$(PYTHON) -m venv --clear build/uv
	build/uv/bin/python -m pip --disable-pip-version-check install --quiet uv==0.13.8
