# Two commands to start: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
# Tests at once; most of them wait for programs that run.
JOBS   ?= 3
BIN    := $(VENV)/bin
SOURCES := $(shell find src native -type f -not -name '*.pyc')
BASE   := $(VENV)/.base
PRODUCT := $(VENV)/.product
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)/.tools
LOWEST := build/lowest
# Each file that is fetched has a hash in requirements/; a source distribution would fetch what it is built with.
LOCKED = $(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements
# The project itself, with nothing fetched.
OWN    = -m pip install --quiet --no-index --no-deps --no-build-isolation .
NATIVE  = $(shell $(BIN)/python -c "from perimortem.agent.library import find_library; print(find_library().parent)")

.DEFAULT_GOAL := help
.PHONY: help run test test-windows fast-tests check bench curve fuzz faults faults-short coverage docs lock man sanitize sbom dist test-lowest test-deps wine-deps oracles programs soak clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo 'make run CMD="./your-program --its-options"  watches any other command'

$(BASE): requirements/build.txt
	$(PYTHON) -m venv $(VENV)
	$(LOCKED)/build.txt
	@touch $@

$(PRODUCT): $(BASE) requirements/product.txt pyproject.toml $(SOURCES)
	$(LOCKED)/product.txt
	$(BIN)/python $(OWN)
	@touch $@

$(STAMP): $(BASE) requirements/test.txt pyproject.toml $(SOURCES)
	$(LOCKED)/test.txt
	$(BIN)/python $(OWN)
	@touch $@ $(PRODUCT)

$(TOOLS): $(STAMP) requirements/dev.txt
	$(LOCKED)/dev.txt
	@touch $@

examples/bin/silent-death: examples/silent-death/server.c examples/silent-death/gpu_rt.c $(PRODUCT)
	@mkdir -p examples/bin
	$(CC) -shared -fPIC -O1 -g -o examples/bin/libgpu_rt.so examples/silent-death/gpu_rt.c
	$(CC) -O1 -g -I$(NATIVE)/include -o $@ examples/silent-death/server.c \
	  -Lexamples/bin -lgpu_rt -L$(NATIVE) -l:libperimortem.so.0 -lpthread \
	  -Wl,-rpath,$(abspath examples/bin) -Wl,-rpath,$(NATIVE)

run: $(PRODUCT) ## Set up, and watch a bundled program die (CMD="..." for another command)
ifdef CMD
	$(BIN)/perimortem run -- $(CMD)
else
	@$(MAKE) --no-print-directory examples/bin/silent-death
	@echo '$$ perimortem run -- examples/bin/silent-death'
	@$(BIN)/perimortem run --threshold 1 -- examples/bin/silent-death || true
endif

programs: $(STAMP) ## Build the programs that the tests crash, hang and kill
	@$(MAKE) --no-print-directory -C tests/programs NATIVE=$(NATIVE)

test: $(STAMP) programs ## Set up, and run every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not exclusive"
	$(BIN)/python -m pytest -m exclusive

$(LOWEST)/.installed: $(BASE) pyproject.toml $(SOURCES)
	$(LOCKED)/lock.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/python -m uv pip compile --quiet --python $(LOWEST)/bin/python --no-build --generate-hashes \
	  --resolution lowest-direct --constraint requirements/build.txt pyproject.toml --all-extras --group test \
	  -o $(LOWEST)/requirements.txt
	$(BIN)/python -m uv pip install --quiet --require-hashes --python $(LOWEST)/bin/python --no-build \
	  -r requirements/build.txt -r $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python $(OWN)
	@touch $@

test-lowest: $(LOWEST)/.installed programs ## Fast tests, and crashes, with the oldest dependencies that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -q -n $(JOBS) tests/unit tests/system/test_crashes.py

fast-tests: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit

check: $(TOOLS) fast-tests ## ruff, mypy --strict for linux and win32, import-linter, plain words, fast tests
	$(BIN)/ruff check src tools tests bench examples
	$(BIN)/ruff format --check src tools tests bench examples
	$(BIN)/mypy --platform linux
	$(BIN)/mypy --platform win32
	$(BIN)/lint-imports
	$(BIN)/python tools/generate_headers.py --check
	$(BIN)/python tools/generate_schemas.py --check
	$(BIN)/python tools/generate_cli_reference.py --check
	$(BIN)/python tools/generate_api_reference.py --check
	$(BIN)/python tools/check_dead_code.py
	$(BIN)/python tools/check_words.py

bench: $(TOOLS) programs ## Measure ratios against peers, side by side in one run
	$(BIN)/python -m bench

curve: $(TOOLS) programs ## Redraw docs/performance.svg (some minutes, 17 GB of disk)
	$(LOCKED)/curve.txt
	$(BIN)/python -m bench.curve

coverage: $(TOOLS) ## How much of the code the unit tests reach, into build/coverage
	@mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -q tests/unit
	$(BIN)/coverage html --quiet
	@echo "$$($(BIN)/coverage report --format=total) % of lines and branches; build/coverage/html/index.html"

sanitize: $(STAMP) ## The agent and the core helper under Address-, UndefinedBehavior- and ThreadSanitizer (build/sanitize)
	$(BIN)/python tools/sanitize.py

docs: $(PRODUCT) ## Build the documentation as a site, into build/site
	$(LOCKED)/docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo build/site/index.html

lock: $(BASE) ## Update requirements/, the versions that development installs, with their hashes
	$(LOCKED)/lock.txt
	$(BIN)/python tools/lock.py

dist: $(STAMP) ## Build the sdist, and the wheel from it, into dist
	rm -rf dist && mkdir -p build
	$(BIN)/python -m build --no-isolation --outdir dist > build/dist.log 2>&1 || { cat build/dist.log; false; }

sbom: dist ## Write the bill of materials of what is in dist (CycloneDX), beside it
	$(BIN)/python tools/write_sbom.py dist

man: $(PRODUCT) ## Write the man pages, into build/man
	$(BIN)/python tools/generate_man_pages.py build/man

fuzz: $(TOOLS) programs ## Damaged and hostile input for every reader, for five minutes
	$(LOCKED)/fuzz.txt
	$(BIN)/python -m tools.faults fuzz --seconds 300

faults: $(TOOLS) programs ## Make everything around it fail, and count what is lost (15 minutes)
	$(BIN)/python -m tools.faults --page docs/reliability.md

faults-short: $(TOOLS) programs ## The same in two minutes
	$(BIN)/python -m tools.faults --short

test-deps: ## Install what the tests compare with (needs root; CI)
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	  gcc g++ make cmake ninja-build pkg-config python3-venv gdb lldb elfutils debuginfod binutils libc6-dbg \
	  redis-server nginx-light ripgrep gron chromium qemu-user gcc-aarch64-linux-gnu \
	  libc6-dev-arm64-cross gdb-multiarch less vim-tiny procps util-linux zstd strace clang lld
	# Compilers for 32 bits; by version, since the packages without one exclude each other.
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	  $$(gcc -dumpversion | sed 's/\..*//; s/.*/gcc-&-multilib gcc-&-arm-linux-gnueabihf/') \
	  libc6-dev-armhf-cross || echo "no compilers for 32 bits here: their tests are skipped"

oracles: ## Build what the tests compare dumps with, where cargo is
	if [ -x "$$HOME/.cargo/bin/minidump-stackwalk" ]; then :; \
	elif command -v cargo > /dev/null; then cargo install --quiet --locked minidump-stackwalk@0.27.0; \
	else echo "there is no cargo: the tests against minidump-stackwalk are skipped"; fi

wine-deps: ## Install Wine and the cross compiler (needs root; CI)
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	  wine wine64 gcc-mingw-w64-x86-64-win32 g++-mingw-w64-x86-64-win32 cmake ninja-build

test-windows: $(TOOLS) ## Set up a Windows Python under Wine, and run the tests of Windows in it
	timeout 1800 tools/wine/test.sh build/windows $(BIN)/python

soak: $(TOOLS) ## 100 healthy programs on a loaded machine: none may be called hung (10 minutes)
	$(BIN)/python tools/soak.py 100 15

clean: ## Remove what was built
	rm -rf $(VENV) build dist examples/bin tests/programs/bin bench/bin
