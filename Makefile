# make setup     .venv with everything in it, from requirements.lock
# make demo      what python -m pipeline.demo does: synthetic data -> train -> ... -> int8 .tflite -> a picture with boxes
# make test      lint, types and all tests         make test-fast   the unit tests only
# make test-long properties with other examples, attacks, and whether the tests notice a changed line (mutmut)
# make android   the Android app: a signed test APK, checked (Linux on x86-64)
# make android-test  the app on a desktop JVM: its activity by Robolectric, its core beside pipeline.predict
# make android-shots its screenshots, and the gallery of docs/app.md from them
# make web       what the browser demo runs models with, by npm
# make docs      the site made of docs/, in build/site
# make figures   the figures of the pages, filled in from docs/figures
# make dist      source archive and wheel in dist/, looked into; each extra installed and started by itself
# make lint      ruff, its formatter, mypy and who may import whom     make lock   resolve requirements.lock anew

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# In the order of the folders, so that the longest files start first; a file stays with one process, for its fixtures.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=15
CODE := micro_yolo/*.py micro_yolo/command model pipeline tflite tests benchmarks android_demo/verify

WEB := pipeline/web
.PHONY: setup demo docs figures test suite style types test-fast test-long web android android-test android-shots dist lint lock clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" 2>/dev/null || \
	    { echo "make setup: needs Python 3.11 to 3.13, found $(or $(PYTHON),none) ($$($(PYTHON) --version 2>&1)); make PYTHON=/path/to/python setup"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --progress-bar off --no-deps --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/python -m pipeline.demo

# The types are looked at meanwhile: mypy works on one core.
test: setup
	@$(MAKE) --no-print-directory style
	@$(MAKE) --no-print-directory -j2 suite types

suite: setup
	$(PYTEST) tests

# Another seed every time; the header of the tests says which, and SEED=... brings its examples back.
SEED ?= $(shell date +%s)
# How long the attacks go on; as long as you like.
MINUTES ?= 10
test-long: setup
	MICRO_YOLO_EXAMPLES=long $(PYTEST) -m hypothesis --hypothesis-seed=$(SEED) tests
	$(BIN)/python benchmarks/attacks.py --minutes $(MINUTES) --seed $(SEED)
	rm -rf mutants
	$(BIN)/mutmut run --max-children $(JOBS)
	$(BIN)/python tests/mutation/survivors.py

test-fast: setup
	$(PYTEST) -m "not slow" tests/unit

web: $(WEB)/node_modules/.package-lock.json

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	npm ci --no-audit --no-fund --ignore-scripts --prefix $(WEB)

android: setup
	$(BIN)/python -m android_demo.verify apk

android-test: setup
	$(BIN)/python -m android_demo.verify test

android-shots: setup
	$(BIN)/python -m android_demo.verify shots

# EXTRAS="train heic" tries these alone. twine is used nowhere else, so that it comes and goes with uvx.
EXTRAS ?=
dist: setup
	rm -rf dist
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist
	$(BIN)/uvx --quiet twine@7.0.0 check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/python tests/dist/archives.py dist
	$(BIN)/python tests/dist/installs.py dist $(EXTRAS)

lint: style types

style: setup
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: setup
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

# No index goes into the file: pip uses whichever the machine is set up with.
lock: setup
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra mediapipe --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

docs: setup
	$(BIN)/zensical build --clean --strict

figures: setup
	$(BIN)/python benchmarks/figures.py fill

clean:
	rm -rf build dist mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
