# Two commands do all the set-up on a fresh machine with Python >= 3.11 and git: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHECKED := gitchain tests bench examples deploy
ROOMS := evidence layout verify
PARALLEL := -n 2 --dist worksteal
FUZZED = $(shell grep -rlE --include='test_*.py' 'from tests\.support\.fuzzing|import hypothesis|from hypothesis|mark\.slow' tests)

.PHONY: demo test coverage quick check fuzz mutants bench conformance stack-build stack-up stack-down interop k8s lock clean

demo: $(STAMP)  ## the main job on real input: data to verified model, then attacks on copies of it
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## every test; those of evidence, layout and verify cover every branch there. T=verify: one directory, without coverage
ifdef T
	$(BIN)/python -m pytest $(PARALLEL) tests/$(T)
else
	$(BIN)/python -m pytest $(PARALLEL) $(addprefix --cov=gitchain.,$(ROOMS)) --cov-report=term-missing:skip-covered --cov-fail-under=100 $(addprefix tests/,$(ROOMS))
	$(BIN)/python -m pytest $(PARALLEL) $(addprefix --ignore=tests/,$(ROOMS))
endif

coverage: $(STAMP)  ## every test in one run, with the branch coverage of the whole package; CI runs it
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered --cov-fail-under=85
	$(BIN)/python -m coverage report --skip-covered --fail-under=100 --include='gitchain/evidence/*,gitchain/layout/*,gitchain/verify/*'

quick: $(STAMP)  ## tests for what differs from main, at most 60 s on two cores
	$(BIN)/python tests/quick.py

check: $(STAMP)  ## lint, format, types, no code twice, and that each package that is imported is declared
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/deptry gitchain
	$(BIN)/pylint --disable=all --enable=duplicate-code --min-similarity-lines=8 --ignore-imports=y --ignore-docstrings=y \
	  --ignore-signatures=y --ignore-comments=y gitchain
	$(BIN)/python -m pytest -q tests/test_floors.py tests/distribution/test_requirements.py

fuzz: $(STAMP)  ## the generated and the long tests at full size, with other cases every time
	GITCHAIN_FUZZ=1 $(BIN)/python -m pytest $(PARALLEL) $(FUZZED)

mutants: $(STAMP)  ## do the tests notice a change anywhere in the rooms that decide? ALL=1 for every mutant
	$(BIN)/python -m tests.mutation.driver $(if $(ALL),--all)

bench: $(STAMP)  ## ratios against a peer or a limit, both sides in one run
	$(BIN)/python bench/run.py

conformance: $(STAMP)  ## public suites of test vectors (GITCHAIN_VECTORS, or ../shared/vectors), and where we deviate
	$(BIN)/python -m tests.conformance.conform

stack-build:  ## build every real server and peer of the tests (needs Go; GITCHAIN_STACK_MINUTES, 25)
	$(PYTHON) tests/stack/build.py --all >/dev/null

stack-up: $(STAMP)  ## real Sigstore services on loopback, left running (needs Go); says where they are
	$(BIN)/python -m tests.stack.stack up

stack-down: $(STAMP)  ## end what stack-up started
	$(BIN)/python -m tests.stack.stack down

interop: $(STAMP)  ## real services and other clients, in both directions, as one table (needs Go; skipped without)
	$(BIN)/python -m tests.interop.run $(PEERS) || [ $$? -eq 3 ]

k8s: $(STAMP)  ## admission on a real API server and etcd: every way around it, certificates and replicas changed under load
	$(BIN)/python -m tests.stack.k8s

lock:  ## rewrite requirements/*.txt from requirements/*.in (needs uv)
	cd requirements && for name in build core base serve otel dev; do \
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $$name.in -o $$name.txt; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* .mutants

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gitchain needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
