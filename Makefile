# Two commands on a fresh machine with Python 3.11: `make run` and `make test`. Each sets everything up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-exhaustive lint setup setup-dev clean

run: setup
	$(BIN)/python main.py --active False
	$(BIN)/python main.py --active True
	$(BIN)/python scripts/measure_cells.py output/passive output/active
	$(BIN)/python main.py --active True --use_attacks_2 True --eval_sample 5 --eval_views none --eval_icd False --output_dir output/grid
	$(BIN)/python scripts/compare.py output/passive output/active
	$(BIN)/python scripts/report.py output/passive output/active
	$(BIN)/active-indexing release output/demo/photos --store output/store
	$(BIN)/active-indexing thief output/demo/photos/coffee.png --output_dir output/found
	$(BIN)/active-indexing query output/found output/demo/non_matching --store output/store --html output/found/page.html

# In two processes of one core each.
test: setup-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

# Every kill point of the store, 200 random ones, and 182 of a run: 15 minutes.
test-exhaustive: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m exhaustive

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/.run
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

PIP := $(BIN)/python -m pip install --disable-pip-version-check -q
# compat puts this folder on the path, so that scripts find each other and analysis/ too.
EDITABLE := --no-deps --config-settings editable_mode=compat -e .
PACKAGE := pyproject.toml setup.py requirements.txt requirements-dev.txt

$(VENV)/.run: $(PACKAGE) $(VENV)/bin/python
	$(PIP) -r requirements.txt
	$(PIP) $(EDITABLE)
	touch $@

$(VENV)/.dev: $(PACKAGE) $(VENV)/bin/python
	$(PIP) -r requirements-dev.txt
	$(PIP) $(EDITABLE)
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) output indexes
