# Every target does its own set-up: a .venv, pinned packages, samples on first use.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out/exam
# Torch first and pinned: any other order may pull another build of it.
TORCH  := torch==2.13.0
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: exam test lint types imports wheel bench clean

exam: $(VENV)/.exam
	$(BIN)/tiku exam sample:minilm --data sample:movie-reviews \
	    --require "accuracy >= 0.98 * base" --require "p95_latency <= 40 ms" --minimize energy --out $(OUT)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TESTS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

wheel: $(VENV)/.test
	rm -rf dist build
	$(BIN)/python -m build --outdir dist > dist.log 2>&1 || { cat dist.log; exit 1; }
	rm -f dist.log

bench: $(VENV)/.test
	$(BIN)/python -m bench

$(VENV)/.venv:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'tiku needs Python 3.11 or newer: make PYTHON=python3.11 exam')"
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.exam: $(VENV)/.venv pyproject.toml constraints.txt
	$(PIP) $(TORCH)
	$(PIP) -e ".[onnx,openvino,weights]"
	touch $@

$(VENV)/.test: $(VENV)/.exam
	$(PIP) -e ".[onnx,openvino,weights,test,lint]"
	touch $@

clean:
	rm -rf $(VENV) dist build out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
