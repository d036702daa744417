# Everything runs in one virtual environment, made on first use. `make demo`, then `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ENGINE := $(BIN)/engine
RUN := runs/demo

.PHONY: demo test check lint bench parity contracts

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/ready
	$(ENGINE) weights fetch vgg16
	$(ENGINE) train recipes/reconet_candy.yaml --run-dir $(RUN) --overwrite
	$(ENGINE) infer --style $(RUN)/style.safetensors -o $(RUN)/sample.mp4 --overwrite
	@echo
	@echo "style     $(RUN)/style.safetensors"
	@echo "previews  $(RUN)/previews/"
	@echo "painted   $(RUN)/sample.mp4"

# Two processes share the cores, so a thread that waits must not spin. Files in their own order: sorted by number of tests, one with few long
# ones would come last and leave a process without work.
test: $(VENV)/ready
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(MAKE) test

bench: $(VENV)/ready
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-columns=min,median,rounds
	$(BIN)/python tests/benchmarks/side_by_side.py --peer build/peer

parity: $(VENV)/ready
	$(BIN)/python tests/benchmarks/parity_table.py

contracts: $(VENV)/ready
	$(BIN)/python tests/benchmarks/contract_table.py
