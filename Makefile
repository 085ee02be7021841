# make demo               set up for the main job, then thin a phantom chest into ./demo (SOURCE=folder: your own scan)
# make test               set up the tests' tools too, then the quick tests (under five minutes on two cores)
# make smoke              the reference system from raw ZIPs to a page of results, on phantoms, in minutes
# make bench              time and memory of the installed command, beside two splines of the same volume
# make check              all tests and the smoke chain, then format, lint, types, documents; what CI runs
# make fuzz               damaged inputs by the hundred thousand, for hours: RUNS= of each target; goes on where it stopped
# make sbom               bill of materials (CycloneDX, with licences) of what users install: dist/lamella.cdx.json
# make docs               the documentation site, offline, with warnings as errors: docs/_build/html/index.html
#
# PYTHON, SOURCE and OUT may be given on the command line; CONSTRAINTS= takes the newest packages instead of those that
# the published figures were made with; CONSTRAINTS=torch==2.10.0 another torch.

PYTHON ?= python3
OUT ?= demo
RUNS ?= 200000
CONSTRAINTS ?= --constraint constraints.txt
BIN := .venv/bin
# what is used is compiled when it is first imported: the set-up takes half the time and 200 MB less
INSTALL := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check $(CONSTRAINTS) --editable
READY := .venv/.ready
TOOLS := .venv/.tools
# as many processes as processors, each of one thread
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

.PHONY: setup demo test smoke bench fuzz docs sbom check clean
.DEFAULT_GOAL := demo

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lamella needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[evaluate]'
	@touch $@

$(TOOLS): $(READY)
	$(INSTALL) '.[dev]'
	@touch $@

demo: $(READY)
ifdef SOURCE
	$(BIN)/lamella thin "$(SOURCE)" "$(OUT)/thin" --preview "$(OUT)/preview.png" --report "$(OUT)/report.json" --overwrite
else
	$(BIN)/lamella demo "$(OUT)" --overwrite
endif

test: $(TOOLS)
	$(PYTEST) -m "not slow and not browser"

smoke: $(TOOLS)
	$(BIN)/python benchmarks/smoke.py configs/smoke.yaml

bench: $(READY)
	$(INSTALL) '.[bench]'
	$(BIN)/python benchmarks/speed.py

fuzz: $(TOOLS)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run --runs $(RUNS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --hypothesis-profile fuzz tests/dicom/test_slice_sets.py

check: $(TOOLS)
	$(PYTEST) -m "not browser"
	$(BIN)/python -m pytest -m browser  # one at a time, for some measure seconds
	$(BIN)/python benchmarks/smoke.py configs/smoke.yaml
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) docs

docs: $(TOOLS)
	$(INSTALL) '.[docs]'
	$(BIN)/python -m sphinx -b html -E -W --keep-going -n -q docs docs/_build/html

sbom: $(TOOLS)
	$(BIN)/python deploy/sbom.py dist/lamella.cdx.json

clean:
	rm -rf .venv build dist demo docs/_build docs/_generated docs/project docs/start/tutorial.md .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
