# One target per chore; CI calls the same ones. Needs Python >= 3.11 with venv, and make.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo
NAPARI := .venv-napari
BACKENDS := .venv-backends
PEERS  := $(BACKENDS)/.torch $(BACKENDS)/.monai $(BACKENDS)/.csbdeep
UI     := .venv-ui
DOCS   := .venv-docs

# The browser of `make test-ui`: a command, or a path.
CHROMIUM ?= chromium

# The tests of a file stay in one process, since they share datasets; the tiny model is trained in one for all.
# A thread each: processes that all take every core only get in each other's way.
PARALLEL := -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder
ALONE    := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1

# What computes with Keras, by subject; the rest concerns files, tables and markers, which no backend changes.
ON_BACKENDS := any_size blending blocks bundle devices engine_choice engines evaluate field_of_view flips heads losses \
	metrics model network_drawing patches precision predict probes train

# With COVERAGE=yes, as CI has it, a sixth slower.
COUNTED  := --cov --cov-report=term:skip-covered --cov-fail-under=90

# pip compiles thousands of files that nobody imports; Python compiles those that are.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: help setup demo fuzz audit test test-servers test-production drills soak test-ui test-napari test-backends test-jax test-torch test-monai check format bench bench-peers bench-systems bench-real bench-ablation docs docs-pictures lock clean

help:            ## Show this list.
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

setup: $(VENV)/.ready  ## Make .venv from the lock.

demo: setup      ## Synthetic eyes through everything; ends by printing what to look at.
	$(BIN)/unetseg demo --project $(DEMO)

test: $(VENV)/.dev  ## Checks and tests; the README's test command.
	$(MAKE) --no-print-directory check
	$(ALONE) $(BIN)/python -m pytest $(PARALLEL) $(if $(COVERAGE),$(COUNTED))

test-servers: $(VENV)/.dev  ## Tests that start a Prefect server, an S3 or a Dask cluster on this machine.
	$(ALONE) $(BIN)/python -m pytest $(PARALLEL) -m "server and not drill and not production" tests/unetseg tests/flows tests/deployments

test-production: $(VENV)/.dev  ## PostgreSQL, a login, workers and a Dask cluster on this machine; container and service files.
	@ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || command -v initdb > /dev/null || \
		echo "PostgreSQL is not installed here, so the tests with it are skipped: apt-get install postgresql"
	@command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1 || \
		echo "docker compose is not installed here, so compose.yaml is not read by it: apt-get install docker-compose"
	@command -v systemd-analyze > /dev/null || \
		echo "systemd is not installed here, so the units are not verified: apt-get install systemd"
	$(BIN)/python -m pytest -rs -m "server or not server" tests/deployments/test_service_files.py \
		tests/deployments/test_worker.py tests/deployments/test_production.py

drills: $(VENV)/.dev  ## Kill runs, lose workers, count files, run the recipes of the docs; takes minutes.
	$(BIN)/python -m pytest -m drill tests/drills tests/deployments tests/test_docs.py

fuzz: $(VENV)/.dev  ## Damaged and hostile inputs, FUZZ_MINUTES (3) long beside a minute to start; finds lie in build/fuzz.
	$(BIN)/python -m pytest -m fuzz tests/fuzz

audit:           ## Ask PyPI for known holes in the locked packages; one that it cannot be asked for fails, too.
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement requirements.lock --requirement requirements-dev.lock

soak: $(VENV)/.dev  ## Nights with changing data and injected faults, UNETSEG_NIGHTS of them, 30 unless set.
	$(BIN)/python -m pytest -m drill tests/drills/test_soak.py

test-ui: $(VENV)/.dev  ## Start runs in Prefect's UI and look at them, in a real browser; UNETSEG_SCREENSHOTS=DIR keeps pictures.
	@command -v "$(CHROMIUM)" > /dev/null || \
		{ echo "skipped: no chromium here: apt-get install chromium, or CHROMIUM=/path/to/one"; exit 0; }; \
	$(MAKE) --no-print-directory $(UI)/.ready || { echo "skipped: playwright cannot be installed here"; exit 0; }; \
	CHROMIUM="$(CHROMIUM)" $(UI)/bin/python -m pytest -rs -m ui tests/deployments/test_ui.py

test-napari: $(VENV)/.dev  ## Open a scan of a dataset in napari, in an environment of its own.
	@$(MAKE) --no-print-directory $(NAPARI)/.ready || { echo "skipped: napari cannot be installed here"; exit 0; }; \
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python tests/drills/napari_dataset.py "$$folder" && \
	UNETSEG_NAPARI="$$folder" $(NAPARI)/bin/python -m pytest -m napari -W ignore -p no:cacheprovider \
		--confcutdir=tests/drills tests/drills/test_napari.py

test-backends: test-jax test-torch test-monai  ## Tests on JAX and on PyTorch, and against MONAI, where these can be installed.

# JAX compiles anew for every network; its cache spares what several tests have in common.
test-jax test-torch: test-%: $(VENV)/.dev
	@$(MAKE) --no-print-directory $(BACKENDS)/.$* || { echo "skipped: $* cannot be installed here, see above"; exit 0; }; \
	echo "on $*:" && $(ALONE) KERAS_BACKEND=$* CUDA_VISIBLE_DEVICES=-1 \
		JAX_COMPILATION_CACHE_DIR=$(CURDIR)/$(BACKENDS)/cache JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
		$(BACKENDS)/bin/python -m pytest $(PARALLEL) $(ON_BACKENDS:%=tests/unetseg/test_%.py)

test-monai: $(VENV)/.dev  ## Distances of outlines against MONAI, which needs PyTorch; what bench-peers compares.
	@$(MAKE) --no-print-directory $(PEERS) || { echo "skipped: MONAI or CSBDeep cannot be installed here"; exit 0; }; \
	$(BACKENDS)/bin/python -m pytest tests/unetseg/test_surface_distances_monai.py tests/benchmarks

check: $(VENV)/.dev  ## Style, types, layers.
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo > $(VENV)/layers.log || (cat $(VENV)/layers.log; exit 1)

format: $(VENV)/.dev  ## Format the code.
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

bench: $(VENV)/.dev  ## Measure; writes docs/benchmarks/latest.json and latest.md; SECTIONS="predict workers" for some.
	$(BIN)/python -m benchmarks.run $(SECTIONS)

bench-peers: $(VENV)/.dev  ## The same weights by PyTorch, MONAI and CSBDeep; writes docs/benchmarks/peers.json and peers.md.
	$(MAKE) --no-print-directory $(PEERS)
	CUDA_VISIBLE_DEVICES=-1 $(BACKENDS)/bin/python -m benchmarks.peers

bench-systems: $(VENV)/.dev  ## Train the five systems on synthetic eyes; writes docs/benchmarks/five-systems.md.
	$(BIN)/python -m benchmarks.five_systems

bench-real: $(VENV)/.dev  ## Train on the real scans named by UNETSEG_DATA, 20 minutes each; writes docs/benchmarks/real-scans.md.
	$(BIN)/python -m benchmarks.real_scans 20

bench-ablation: $(VENV)/.dev  ## What each part of training brings on one of them; writes docs/benchmarks/ablation.md.
	$(BIN)/python -m benchmarks.ablation 4

docs: $(VENV)/.dev  ## Make the documentation's site, site/index.html; links and anchors are checked.
	@$(MAKE) --no-print-directory $(DOCS)/.ready || { echo "skipped: sphinx cannot be installed here"; exit 0; }; \
	$(DOCS)/bin/python -m sphinx -c docs --doctree-dir $(DOCS)/doctrees --fail-on-warning --keep-going --fresh-env --quiet . site && \
	echo "open site/index.html"

docs-pictures: demo  ## Draw the pictures of the documentation anew; those of pages in chromium.
	$(BIN)/python -m docs.draw $(DEMO) $(CHROMIUM)

lock:            ## Resolve pyproject.toml anew and renew both locks.
	PYTHON=$(PYTHON) sh scripts/lock.sh

clean:           ## Remove what the targets above made.
	rm -rf $(VENV) .venv-audit build/fuzz $(NAPARI) $(BACKENDS) $(UI) $(DOCS) $(DEMO) site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage *.egg-info

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'unetseg needs Python 3.11 or newer, found ' + sys.version.split()[0])"
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), about 3 GB: minutes without a word, by how fast packages come"
	$(INSTALL) --requirement requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.ready requirements-dev.lock
	$(INSTALL) --requirement requirements-dev.lock
	touch $@

$(NAPARI)/.ready: requirements-napari.txt
	$(PYTHON) -m venv $(NAPARI)
	echo '*' > $(NAPARI)/.gitignore
	$(NAPARI)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	touch $@

# These three see what is in $(VENV), and hold only what that lacks.
$(UI)/.ready $(DOCS)/.ready: .venv-%/.ready: requirements-%.txt $(VENV)/.dev
	$(BIN)/python -m venv .venv-$*
	echo '*' > .venv-$*/.gitignore
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> $$(.venv-$*/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dev.pth
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	touch $@

$(BACKENDS)/.jax $(BACKENDS)/.torch $(BACKENDS)/.csbdeep: $(BACKENDS)/.%: requirements-backends.txt $(VENV)/.dev
	$(BIN)/python -m venv $(BACKENDS)
	echo '*' > $(BACKENDS)/.gitignore
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> $$($(BACKENDS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dev.pth
	$(BACKENDS)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint $< $*
	touch $@

# Without what it asks for: all of that is in $(VENV) already, but for what these tests do not need.
$(BACKENDS)/.monai: requirements-backends.txt $(BACKENDS)/.torch
	$(BACKENDS)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --constraint $< monai
	touch $@
