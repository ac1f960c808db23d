# `make demo` and `make test` set up .venv from the lock file first; nothing else need be installed
# than Python 3.11 with pip and venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Processes that the tests run in; each takes about a gigabyte, and one thread.
WORKERS ?= 2
# A process takes file after file, in the order of tests/conftest.py. Where one crashes, the run ends
# and names the test: pytest-xdist 3.8 would start another one, and could then wait without end.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
  --max-worker-restart 0
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-fast test-deploy coverage lint types hooks lock clean

demo: .venv/installed
	$(BIN)/compress recipes/digits.yaml

# Each process computes on one thread.
test test-fast coverage: export OMP_NUM_THREADS := 1

test: lint types .venv/installed
	$(PYTEST)

test-fast: .venv/installed
	$(PYTEST) -m "not slow"

# Lines and branches of the package that no test reaches. `TESTS=tests/recipe` takes a part.
coverage: .venv/installed
	$(PYTEST) --cov --cov-report term $(TESTS)

# Bundles of small models in the runtimes where people deploy: onnxruntime alone, onnxruntime-node and
# -web (in Chromium), Transformers.js, Optimum, OpenVINO. All of these are installed into .deploy/.
DEPLOY_PYTHONS := plain node openvino optimum

test-deploy: .venv/installed $(DEPLOY_PYTHONS:%=.deploy/%/installed) .deploy/npm/installed .deploy/browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/deploy --durations=10

.deploy/%/installed: tests/deploy/requirements-%.txt
	$(PYTHON) -m venv .deploy/$*
	.deploy/$*/bin/pip install --disable-pip-version-check --quiet --requirement $<
	touch $@

# Without the download of CUDA's part of onnxruntime-node.
.deploy/npm/installed: tests/deploy/package.json tests/deploy/package-lock.json .deploy/node/installed
	mkdir -p .deploy/npm
	cp tests/deploy/package.json tests/deploy/package-lock.json .deploy/npm/
	cd .deploy/npm && PATH="$(CURDIR)/.deploy/node/bin:$$PATH" ONNXRUNTIME_NODE_INSTALL=skip \
	  npm ci --no-audit --no-fund --loglevel=error
	touch $@

.deploy/browser:
	command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || (apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends chromium)
	touch $@

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# ruff and mypy of .venv before every commit (.pre-commit-config.yaml).
hooks: .venv/installed
	$(BIN)/pre-commit install

# Written last, so that an installation that was interrupted is done again.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --requirement requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

# The newest versions that pyproject.toml allows; run the tests before you commit what it writes.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet setuptools wheel .[dev]
	{ sed -n '/^#/p' requirements.lock; .venv-lock/bin/pip freeze --all --exclude compress --exclude pip | sed 's/+cpu$$//'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock .deploy build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage
